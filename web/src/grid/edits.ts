/** The way of an edit: shown at once as pending, sent, and answered cell by cell. What the server does not
 *  take stays visible as a draft. */

import { uuid } from './dom';
import type { CellState } from './drafts';
import type { GridCore } from './grid';
import { newestEvent, seenEvent, standingEdit } from './pages';
import type { EditAnswer, EditRequest, EditResult, EditSource, Row } from './types';
import { redoStep, undoStep, type UndoEntry, type UndoItem } from './undo';

/** The server's limit for one request. */
export const CHUNK_EDITS_MAX = 10_000;

export interface Change {
  row: Row;
  column: string;
  value: string | null;
  /** The event that stood when the person began to type; the present one when left out. */
  seen?: number | null;
}

interface Outcome {
  saved: UndoItem[];
  refused: CellState[];
  conflicts: CellState[];
  unsent: number;
}

export class Edits {
  /** Edits of the running batch that are answered, and all of them; null when no long batch runs. */
  progress: { done: number; total: number } | null = null;
  private readonly core: GridCore;
  private readonly before = new WeakMap<CellState, Pick<UndoItem, 'before' | 'overridden'>>();

  constructor(core: GridCore) {
    this.core = core;
  }

  /** Sends new values as one batch, which is also one step of undo. */
  async update(changes: Change[], source: EditSource, label: string): Promise<void> {
    const batchId = uuid();
    const states: CellState[] = [];
    for (const change of changes) {
      const state = this.stateFor(change, source, batchId);
      if (state) states.push(state);
    }
    const outcome = await this.send(states, label);
    this.core.undoStack.push({ label, items: outcome.saved });
    this.tell(outcome, states.length, label);
  }

  /** Keeps an override over a source that has changed: the same value again, this time over what the source has now. */
  async keep(row: Row, column: string): Promise<void> {
    const edit = standingEdit(row, column);
    const view = this.core.columns.get(column);
    if (!edit || !view) return;
    const state = this.newState(row, column, row.cells[view.index] ?? null, 'update', 'grid', uuid());
    state.previous = edit.original;
    const outcome = await this.send([state], 'Keep');
    this.tell(outcome, 1, 'Keep');
  }

  /** Takes the override of a cell away. */
  async revert(row: Row, column: string): Promise<void> {
    const edit = standingEdit(row, column);
    if (!edit) return;
    const state = this.newState(row, column, edit.original, 'revert', 'grid', uuid());
    const outcome = await this.send([state], 'Revert');
    this.core.undoStack.push({ label: 'revert', items: outcome.saved });
    this.tell(outcome, 1, 'Revert');
  }

  /** Sends a value again over the one that somebody else has written since. */
  async keepMine(state: CellState): Promise<void> {
    if (!state.current) return;
    const again: CellState = {
      ...state,
      kind: 'pending',
      seen: state.current.event,
      seenRow: state.seenRow === undefined ? undefined : Math.max(state.seenRow ?? 0, state.current.event),
      previous: state.current.value,
      eventId: uuid(),
      batchId: uuid(),
      message: '',
      current: null,
    };
    this.before.set(again, { before: state.current.value, overridden: state.current.action === 'update' });
    const outcome = await this.send([again], 'Keep mine');
    this.core.undoStack.push({ label: 'edit', items: outcome.saved });
    this.tell(outcome, 1, 'Keep mine');
  }

  discard(state: CellState): void {
    this.core.states.delete(state.key, state.column);
    this.core.repaint();
  }

  /** Sends everything that could not be sent, under the same ids: what did arrive is not logged twice. */
  async retry(): Promise<void> {
    const batches = new Map<string, CellState[]>();
    for (const state of this.core.states.all()) {
      if (state.kind !== 'offline') continue;
      const batch = batches.get(state.batchId);
      if (batch) batch.push(state);
      else batches.set(state.batchId, [state]);
    }
    for (const batch of batches.values()) {
      const outcome = await this.send(batch, 'Retry');
      this.core.undoStack.push({ label: 'edit', items: outcome.saved });
      this.tell(outcome, batch.length, 'Retry');
      if (outcome.unsent > 0) return;
    }
  }

  async undo(): Promise<void> {
    const entry = this.core.undoStack.takeUndo();
    if (!entry) return this.core.announce('Nothing to undo');
    const items = await this.replay(entry, undoStep, 'Undo');
    this.core.undoStack.wasUndone({ label: entry.label, items });
  }

  async redo(): Promise<void> {
    const entry = this.core.undoStack.takeRedo();
    if (!entry) return this.core.announce('Nothing to redo');
    const items = await this.replay(entry, redoStep, 'Redo');
    this.core.undoStack.wasRedone({ label: entry.label, items });
  }

  /** Does an entry backwards or forwards as new events and returns the items that it reached. */
  private async replay(entry: UndoEntry, step: typeof undoStep, label: string): Promise<UndoItem[]> {
    const batchId = uuid();
    const itemOf = new Map<CellState, UndoItem>();
    for (const item of entry.items) {
      const { action, value } = step(item);
      const row = this.core.pages.byKey(item.key);
      const state: CellState = {
        kind: 'pending',
        key: item.key,
        column: item.column,
        action,
        value,
        seen: row ? seenEvent(row, item.column) : item.event,
        previous: null,
        eventId: uuid(),
        batchId,
        source: 'undo',
        message: '',
        current: null,
        queued: null,
      };
      // The row may have been loaded before our own event came back; ours is then the younger one.
      if (state.seen === null || state.seen < item.event) state.seen = item.event;
      if (this.core.states.get(item.key, item.column)?.kind === 'pending') continue;
      itemOf.set(state, item);
    }
    const states = [...itemOf.keys()];
    const reached: UndoItem[] = [];
    await this.send(states, label, (state, result) => {
      const item = itemOf.get(state);
      if (!item || (result.status !== 'saved' && result.status !== 'unchanged')) return;
      reached.push(result.status === 'saved' ? { ...item, event: result.event } : item);
    });
    let unsent = 0;
    for (const state of states) {
      if (state.kind === 'offline') unsent += 1;
      // An undone value that was not taken is no typed value; there is nothing to keep for the person.
      else if (state.kind !== 'pending') this.core.states.delete(state.key, state.column);
    }
    const left = entry.items.length - reached.length - unsent;
    const done = `${label}: ${count(reached.length, 'cell')}`;
    if (left > 0) {
      this.core.message('error', `${done}; ${count(left, 'cell')} left alone because somebody changed them since`);
    } else if (entry.items.length > 1) {
      this.core.message('info', done);
    } else {
      this.core.announce(done);
    }
    const first = reached[0];
    if (first) this.core.goTo(first.key, first.column);
    this.core.repaint();
    return reached;
  }

  private stateFor(change: Change, source: EditSource, batchId: string): CellState | null {
    const { row, column, value } = change;
    const { states } = this.core;
    const view = this.core.columns.get(column);
    if (!view) return null;
    const held = states.get(row.key, column);
    if (held?.kind === 'pending') {
      held.queued = { value };
      held.value = value;
      return null;
    }
    if (value === (row.cells[view.index] ?? null)) {
      if (held) states.delete(row.key, column);
      return null;
    }
    const state = this.newState(row, column, value, 'update', source, batchId);
    if (change.seen !== undefined) state.seen = change.seen;
    return state;
  }

  private newState(
    row: Row,
    column: string,
    value: string | null,
    action: 'update' | 'revert',
    source: EditSource,
    batchId: string,
  ): CellState {
    const view = this.core.columns.get(column);
    const previous = view ? (row.cells[view.index] ?? null) : null;
    const state: CellState = {
      kind: 'pending',
      key: row.key,
      column,
      action,
      value,
      seen: seenEvent(row, column),
      seenRow: view?.column.validation ? newestEvent(row) : undefined,
      previous,
      eventId: uuid(),
      batchId,
      source,
      message: '',
      current: null,
      queued: null,
    };
    this.before.set(state, { before: previous, overridden: standingEdit(row, column) !== undefined || row.created });
    return state;
  }

  /** Sends states of one batch in chunks. A failure leaves what was not answered as drafts that can be sent again. */
  private async send(
    states: CellState[],
    label: string,
    each?: (state: CellState, result: EditResult) => void,
  ): Promise<Outcome> {
    const { core } = this;
    const outcome: Outcome = { saved: [], refused: [], conflicts: [], unsent: 0 };
    if (states.length === 0) return outcome;
    for (const state of states) {
      core.states.delete(state.key, state.column);
      state.kind = 'pending';
      state.message = '';
      core.states.set(state);
    }
    const long = states.length > CHUNK_EDITS_MAX;
    core.repaint();
    let end: number;
    for (let at = 0; at < states.length; at = end) {
      end = chunkEnd(states, at);
      if (long) {
        this.progress = { done: at, total: states.length };
        core.announce(`${label}: ${at} of ${states.length}`);
        core.repaint();
      }
      const chunk = states.slice(at, end);
      const first = chunk[0];
      if (!first) break;
      try {
        const answer = await core.options.source.edit({
          batch_id: first.batchId,
          source: first.source,
          edits: chunk.map(requestOf),
        });
        if (core.destroyed) return outcome;
        this.take(chunk, answer, outcome, each);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        const rest = states.slice(at);
        for (const state of rest) core.states.become(state, 'offline', message);
        outcome.unsent += rest.length;
        break;
      }
    }
    if (long) this.progress = null;
    core.repaint();
    this.sendQueued(states);
    return outcome;
  }

  private take(
    chunk: CellState[],
    answer: EditAnswer,
    outcome: Outcome,
    each?: (state: CellState, result: EditResult) => void,
  ): void {
    const { core } = this;
    core.pages.addLinks(answer.links);
    core.pages.patch(answer.rows, answer.version);
    chunk.forEach((state, at) => {
      const result = answer.results[at];
      if (!result) {
        core.states.become(state, 'offline', 'The server answered for a part of the cells only. Send this one again.');
        outcome.unsent += 1;
        return;
      }
      each?.(state, result);
      switch (result.status) {
        case 'saved': {
          core.states.delete(state.key, state.column);
          core.marks.flash(state.key, state.column);
          const before = this.before.get(state);
          if (before) {
            const { key, column, action } = state;
            outcome.saved.push({ key, column, action, after: result.value, event: result.event, ...before });
          }
          break;
        }
        case 'unchanged':
          core.states.delete(state.key, state.column);
          break;
        case 'conflict':
          state.current = result.current;
          core.states.become(state, 'conflict', result.message);
          outcome.conflicts.push(state);
          break;
        case 'refused':
        case 'skipped':
          core.states.become(state, 'refused', result.message);
          outcome.refused.push(state);
      }
    });
    if (answer.deleted.length > 0) core.refreshSoon();
  }

  /** Values typed while their cell was on its way. */
  private sendQueued(states: CellState[]): void {
    const changes: Change[] = [];
    for (const state of states) {
      if (!state.queued) continue;
      const { value } = state.queued;
      state.queued = null;
      state.value = value;
      const row = this.core.pages.byKey(state.key);
      // With nothing to see what stands now, the value waits as a draft of the kind it has.
      if (!row || state.kind === 'offline' || state.kind === 'conflict') {
        // Another value is another event: under the old id the server would answer for the old value.
        state.eventId = uuid();
        continue;
      }
      changes.push({ row, column: state.column, value });
    }
    if (changes.length > 0) void this.update(changes, 'grid', 'Edit');
  }

  private tell(outcome: Outcome, sent: number, label: string): void {
    const { core } = this;
    const problem = outcome.conflicts[0] ?? outcome.refused[0];
    if (sent === 1) {
      if (problem) {
        core.announce(`Not saved. ${problem.message}`);
        core.card.offer(problem);
      } else if (outcome.unsent > 0) {
        core.message('error', 'The edit could not be sent. It is kept as a draft.');
      } else if (outcome.saved.length > 0) {
        core.announce('Saved');
      }
      return;
    }
    if (sent === 0) return;
    const parts = [`${count(outcome.saved.length, 'cell')} saved`];
    if (outcome.refused.length) parts.push(`${outcome.refused.length} not accepted`);
    if (outcome.conflicts.length) parts.push(`${outcome.conflicts.length} changed by somebody else`);
    if (outcome.unsent) parts.push(`${outcome.unsent} could not be sent and are kept as drafts`);
    core.message(problem || outcome.unsent ? 'error' : 'info', `${label}: ${parts.join(', ')}`);
  }
}

/** Where the chunk that begins at `at` ends: between rows if it can, so that a tick travels with the values it approves. */
export function chunkEnd(states: readonly { readonly key: string }[], at: number): number {
  const longest = at + CHUNK_EDITS_MAX;
  if (longest >= states.length) return states.length;
  let end = longest;
  while (end > at && states[end]?.key === states[end - 1]?.key) end -= 1;
  return end > at ? end : longest;
}

function requestOf(state: CellState): EditRequest {
  const { eventId, action, key, column, seen } = state;
  if (action === 'revert') return { event_id: eventId, action, key, column, seen };
  const request: EditRequest = {
    event_id: eventId,
    action,
    key,
    column,
    value: state.value,
    seen,
    previous: state.previous,
  };
  // A tick approves the whole row as it was seen.
  if (state.seenRow !== undefined) request.seen_row = state.seenRow;
  return request;
}

/** `1 cell`, `1,200 cells`. */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString()} ${noun}${number === 1 ? '' : 's'}`;
}
