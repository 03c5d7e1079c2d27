/**
 * Sends edits to a table that may ask for more than the values: a reason for each change, a signature for a
 * validation. The server says when something is wanting; then the person is asked, and what was refused is sent again.
 */
import { api } from './api';
import type { EditAnswer, EditBatch, EditRequest } from './types';

/** What a person is asked for. */
export interface Asked {
  reason: boolean;
  password: boolean;
  /** How many changes wait for the answer. */
  changes: number;
  /** What the server said to the last answer; null the first time. */
  message: string | null;
}

export interface Given {
  reason: string | null;
  /** Whether the reason holds for the next changes too. */
  keep: boolean;
  password: string | null;
}

interface Waiting extends Asked {
  answer: (given: Given | null) => void;
}

class AskedEdits {
  /** What is asked at the moment. */
  waiting = $state.raw<Waiting | null>(null);
  /** The reason that holds for the next changes. */
  reason = $state<string | null>(null);
  /** Whether the table asks for a signature as well when it asks why. */
  signedColumn: string | null = null;
  /** One question at a time. */
  private turn: Promise<unknown> = Promise.resolve();

  async send(project: string, webapp: string, batch: EditBatch): Promise<EditAnswer> {
    let reason = batch.reason ?? this.reason;
    const post = (edits: EditRequest[], password: string | null): Promise<EditAnswer> =>
      api.edit(project, webapp, {
        ...batch,
        edits,
        ...(reason === null ? {} : { reason }),
        ...(password === null ? {} : { signature: { password } }),
      });
    let answer = await post(batch.edits, null);
    let asked = false;
    for (;;) {
      const wanting = answer.results.flatMap((result, at) =>
        result.status === 'refused' && (result.rule === 'reason' || result.rule === 'signature') ? [{ result, at }] : [],
      );
      const [first] = wanting;
      if (!first) return answer;
      const edits = wanting.flatMap(({ at }) => batch.edits[at] ?? []);
      const signs = edits.some((edit) => edit.action === 'update' && edit.column === this.signedColumn);
      const given = await this.ask({
        reason: first.result.rule === 'reason',
        password: first.result.rule === 'signature' || signs,
        changes: edits.length,
        message: asked ? first.result.message : null,
      });
      if (given === null) return answer;
      asked = true;
      reason = given.reason ?? reason;
      if (given.keep) this.reason = reason;
      // All or nothing stays all or nothing.
      const again = batch.atomic === true ? batch.edits : edits;
      const places = batch.atomic === true ? batch.edits.map((_, at) => at) : wanting.map(({ at }) => at);
      answer = merged(answer, await post(again, given.password), places);
    }
  }

  private ask(asked: Asked): Promise<Given | null> {
    const question = this.turn.then(
      () =>
        new Promise<Given | null>((resolve) => {
          // The reason that somebody gave to the question before answers this one too.
          if (asked.reason && !asked.password && this.reason !== null && asked.message === null) {
            resolve({ reason: this.reason, keep: true, password: null });
            return;
          }
          const waiting: Waiting = {
            ...asked,
            answer: (given) => {
              if (this.waiting === waiting) this.waiting = null;
              resolve(given);
            },
          };
          this.waiting = waiting;
        }),
    );
    this.turn = question;
    return question;
  }

  /** Another table has other reasons. */
  begin(signedColumn: string | null): void {
    this.waiting?.answer(null);
    this.reason = null;
    this.signedColumn = signedColumn;
  }
}

/** An answer with the results of the second try in their places. */
function merged(first: EditAnswer, second: EditAnswer, places: readonly number[]): EditAnswer {
  const results = [...first.results];
  places.forEach((place, at) => {
    const result = second.results[at];
    if (result) results[place] = result;
  });
  const fresh = new Set(second.rows.map((row) => row.key));
  const links = { ...first.links };
  for (const [column, labels] of Object.entries(second.links)) links[column] = { ...links[column], ...labels };
  return {
    version: Math.max(first.version, second.version),
    results,
    rows: [...first.rows.filter((row) => !fresh.has(row.key)), ...second.rows],
    deleted: [...new Set([...first.deleted, ...second.deleted])],
    links,
  };
}

export const askedEdits = new AskedEdits();
