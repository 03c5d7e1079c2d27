/** Values that people typed and the server has not taken, by key and column: apart from the page cache, so
 *  that neither scrolling nor a refresh can lose them. */

import type { CurrentValue, EditSource } from './types';

export type CellStateKind = 'pending' | 'refused' | 'conflict' | 'offline';

export interface CellState {
  kind: CellStateKind;
  key: string;
  column: string;
  action: 'update' | 'revert';
  /** The typed value; for `revert` the value that will show. */
  value: string | null;
  seen: number | null;
  /** The newest event seen in the row, for a column whose tick approves the row. */
  seenRow?: number | null | undefined;
  previous: string | null;
  eventId: string;
  batchId: string;
  source: EditSource;
  message: string;
  /** What stands on the server, for a conflict. */
  current: CurrentValue | null;
  /** Typed while this value was on its way; sent after the answer. */
  queued: { value: string | null } | null;
}

export class CellStates {
  private readonly keys = new Map<string, Map<string, CellState>>();
  private counts: Record<CellStateKind, number> = { pending: 0, refused: 0, conflict: 0, offline: 0 };

  get pending(): number {
    return this.counts.pending;
  }

  get drafts(): number {
    return this.counts.refused + this.counts.conflict + this.counts.offline;
  }

  get isEmpty(): boolean {
    return this.keys.size === 0;
  }

  ofRow(key: string): Map<string, CellState> | undefined {
    return this.keys.get(key);
  }

  get(key: string, column: string): CellState | undefined {
    return this.keys.get(key)?.get(column);
  }

  set(state: CellState): void {
    this.delete(state.key, state.column);
    let row = this.keys.get(state.key);
    if (!row) this.keys.set(state.key, (row = new Map<string, CellState>()));
    row.set(state.column, state);
    this.counts[state.kind] += 1;
  }

  /** Changes the kind of a state that is held. */
  become(state: CellState, kind: CellStateKind, message: string): void {
    if (this.get(state.key, state.column) === state) {
      this.counts[state.kind] -= 1;
      this.counts[kind] += 1;
    }
    state.kind = kind;
    state.message = message;
  }

  delete(key: string, column: string): void {
    const row = this.keys.get(key);
    const state = row?.get(column);
    if (!row || !state) return;
    this.counts[state.kind] -= 1;
    row.delete(column);
    if (row.size === 0) this.keys.delete(key);
  }

  *all(): Generator<CellState> {
    for (const row of this.keys.values()) yield* row.values();
  }
}
