/** Groups as filters of the table. Pure. */
import type { Cell, Filter, Query } from './types';

/** The query without any filter on the columns grouped by. */
export function withoutGroup(query: Query, by: readonly string[]): Query {
  return { ...query, filters: query.filters.filter((filter) => !by.includes(filter.column)) };
}

/** The query that shows the rows of one group; other filters stay. */
export function withGroup(query: Query, by: readonly string[], values: readonly Cell[]): Query {
  const plain = withoutGroup(query, by);
  return {
    ...plain,
    filters: [...plain.filters, ...by.map((column, place) => filterOf(column, values[place] ?? null))],
  };
}

/** The values of the group that the query shows; null if it shows no single group. */
export function chosenGroup(query: Query, by: readonly string[]): Cell[] | null {
  const values: Cell[] = [];
  for (const column of by) {
    const filters = query.filters.filter((filter) => filter.column === column);
    const [filter] = filters;
    if (filter === undefined || filters.length !== 1) return null;
    if (filter.op === 'blank') values.push(null);
    else if (filter.op === 'equals' && filter.value !== undefined) values.push(filter.value);
    else return null;
  }
  return values;
}

function filterOf(column: string, value: Cell): Filter {
  return value === null ? { column, op: 'blank' } : { column, op: 'equals', value };
}
