/** The filter of the log in the address, so that a view of it can be kept and sent to others. Pure. */
import type { LogFilter } from './types';

export const filterNames = ['user', 'action', 'key', 'column', 'batch_id', 'source', 'since', 'until'] as const;
export type FilterName = (typeof filterNames)[number];

export const actions: [string, string][] = [
  ['update', 'Changed a cell'],
  ['create', 'Added a row'],
  ['delete', 'Deleted a row'],
  ['revert', 'Took an edit back'],
  ['erase', 'Erased personal data'],
  ['note', 'Note of the node'],
];

export const sources: [string, string][] = [
  ['grid', 'Typed'],
  ['paste', 'Pasted'],
  ['fill', 'Filled'],
  ['undo', 'Undone'],
  ['import', 'Imported'],
  ['api', 'By a program'],
];

/** The words for an action or a source; what is not known is shown as it is. */
export function wordsOf(choices: [string, string][], name: string): string {
  return choices.find(([known]) => known === name)?.[1] ?? name;
}

/** What the address says; what it does not say, or says emptily, is not asked. A key can be the empty text. */
export function filterOf(search: URLSearchParams): LogFilter {
  const filter: LogFilter = {};
  for (const name of filterNames) {
    const value = search.get(name);
    if (value !== null && (value !== '' || name === 'key')) filter[name] = value;
  }
  return filter;
}

/** The address with one part of the filter changed. */
export function withFilter(search: URLSearchParams, name: FilterName, value: string | null): URLSearchParams {
  const next = new URLSearchParams(search);
  if (value === null || (value === '' && name !== 'key')) next.delete(name);
  else next.set(name, value);
  return next;
}

/** Whether the filter says anything at all: everything at once is never taken back. */
export function says(filter: LogFilter): boolean {
  return filterNames.some((name) => filter[name] !== undefined);
}

/** A moment as a `datetime-local` field has it, in the reader's own zone, and back. */
export function localOf(moment: string | undefined): string {
  const date = new Date(moment ?? '');
  if (Number.isNaN(date.getTime())) return '';
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** A moment of a `datetime-local` field, in UTC; null when the field is empty or not complete. */
export function momentOf(local: string): string | null {
  const date = new Date(local);
  return local === '' || Number.isNaN(date.getTime()) ? null : date.toISOString();
}
