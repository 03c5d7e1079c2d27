/**
 * The view of a table (sorting, filters, row states) as query of its address, readable and safe to share:
 *
 *     ?sort=desc:cost&contains:species=gull&between:cost=100..5000&in:size=Large&in:size=Medium&show=edited,mine
 *
 * An address comes from anybody, so what does not fit the table is left out and reported, never passed on.
 */
import { filterOperators, rowStates, type Filter, type FilterOperator, type Query, type RowState } from './types';

const sortsMax = 8;
const filtersMax = 32;
const valuesMax = 1_000;
const rangeMark = '..';

export const emptyQuery: Query = { sort: [], filters: [], states: [] };

export function isPlain(query: Query): boolean {
  return query.sort.length === 0 && query.filters.length === 0 && query.states.length === 0;
}

/** Writes `query` as parameters; `into` keeps its parameters of other meaning. */
export function encodeQuery(query: Query, into: URLSearchParams = new URLSearchParams()): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of into) if (!isOurs(name)) params.append(name, value);
  for (const { column, descending } of query.sort) params.append('sort', `${descending ? 'desc' : 'asc'}:${column}`);
  for (const filter of query.filters) {
    const name = `${filter.op}:${filter.column}`;
    if (filter.op === 'between') params.append(name, `${filter.from ?? ''}${rangeMark}${filter.to ?? ''}`);
    else if (filter.op === 'in') for (const value of filter.values ?? []) params.append(name, value);
    else params.append(name, filter.value ?? '');
  }
  if (query.states.length > 0) params.append('show', query.states.join(','));
  return params;
}

export interface DecodedQuery {
  query: Query;
  /** In plain words, what of the address does not fit this table. */
  leftOut: string[];
}

/** Reads the view from the parameters of an address; `columns` are the names that the table has. */
export function decodeQuery(params: URLSearchParams, columns: ReadonlySet<string>): DecodedQuery {
  const query: Query = { sort: [], filters: [], states: [] };
  const leftOut: string[] = [];
  const valuesByColumn = new Map<string, string[]>();

  for (const [name, value] of params) {
    if (name === 'sort') {
      const [direction, column] = splitOnce(value, ':');
      if ((direction !== 'asc' && direction !== 'desc') || column === undefined) leftOut.push(`the sorting “${value}”`);
      else if (!columns.has(column)) leftOut.push(`the sorting by “${column}”, which is no column of this table`);
      else if (query.sort.length < sortsMax && !query.sort.some((sort) => sort.column === column)) {
        query.sort.push({ column, descending: direction === 'desc' });
      }
    } else if (name === 'show') {
      for (const text of value.split(',')) {
        const state = rowStates.find((known) => known === text);
        if (state === undefined) leftOut.push(`the selection “${text}”`);
        else if (!query.states.includes(state)) query.states.push(state);
      }
    } else {
      const [op, column] = operatorOf(name);
      if (op === null) continue;
      if (!columns.has(column)) leftOut.push(`the filter on “${column}”, which is no column of this table`);
      else if (op === 'in') {
        const values = valuesByColumn.get(column);
        if (values === undefined) {
          const started = [value];
          valuesByColumn.set(column, started);
          query.filters.push({ column, op, values: started });
        } else if (values.length < valuesMax) values.push(value);
      } else if (query.filters.length < filtersMax) {
        const filter = filterOf(op, column, value);
        if (filter === null) leftOut.push(`the filter “${value}” on “${column}”`);
        else query.filters.push(filter);
      }
    }
  }
  return { query, leftOut };
}

function filterOf(op: Exclude<FilterOperator, 'in'>, column: string, value: string): Filter | null {
  if (op === 'blank' || op === 'not_blank') return { column, op };
  if (op !== 'between') return value === '' && op !== 'equals' && op !== 'not_equals' ? null : { column, op, value };
  const at = value.indexOf(rangeMark);
  if (at < 0) return null;
  const from = value.slice(0, at);
  const to = value.slice(at + rangeMark.length);
  if (from === '' && to === '') return null;
  return { column, op, ...(from === '' ? {} : { from }), ...(to === '' ? {} : { to }) };
}

function operatorOf(name: string): [FilterOperator | null, string] {
  const [first, column] = splitOnce(name, ':');
  if (column === undefined || column === '') return [null, ''];
  return [filterOperators.find((op) => op === first) ?? null, column];
}

function isOurs(name: string): boolean {
  return name === 'sort' || name === 'show' || operatorOf(name)[0] !== null;
}

function splitOnce(text: string, mark: string): [string, string | undefined] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + mark.length)];
}

/** Switches one row state on or off. */
export function toggleState(states: readonly RowState[], state: RowState): RowState[] {
  return states.includes(state) ? states.filter((other) => other !== state) : [...states, state];
}
