/** The rows of one table page, fetched and edited over the API, in the shape that the grid asks for. */
import type { Query as GridQuery, RowSource } from '../grid/types';
import { api } from './api';
import { askedEdits } from './asked-edits.svelte';
import { rowStates, type Query, type RowState } from './types';

/** How far this page has followed the log, and on which original it stands. */
export interface Held {
  version: number;
  snapshot: string;
}

/** A grid's query with the row states that the server knows. */
export function tableQuery(query: GridQuery): Query {
  const states = query.states.filter((state): state is RowState => rowStates.some((known) => known === state));
  return { sort: query.sort, filters: query.filters, states };
}

/**
 * `held` is kept up to date by every answer, so that a reconnect can tell whether anything was missed. With `asOf`, the
 * number of an event or a moment, the rows are those of then.
 */
export function tableSource(project: string, webapp: string, held: Held, asOf: string | null): RowSource {
  return {
    async page(query, offset, limit, signal, how) {
      const page = await api.rows(project, webapp, tableQuery(query), offset, limit, signal, asOf, how);
      held.version = Math.max(held.version, page.version);
      held.snapshot = page.snapshot;
      return page;
    },
    progress: (wait, signal) => api.waitProgress(project, webapp, wait, signal),
    cancel: (wait) => api.cancelWait(project, webapp, wait),
    async edit(batch) {
      const answer = await askedEdits.send(project, webapp, batch);
      held.version = Math.max(held.version, answer.version);
      return answer;
    },
    history: (key, column) => api.history(project, webapp, key, column),
    links: (column, term, signal) => api.links(project, webapp, column, term, signal),
  };
}
