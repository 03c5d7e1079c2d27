/** Values as people read and type them. A value is canonical text or null, never a JS number:
 *  64-bit integers would lose digits. */

import type { Column, ColumnType, LinkLabel } from './types';

export interface Separators {
  group: string;
  decimal: string;
}

export function separatorsOf(locale?: string): Separators {
  const parts = new Intl.NumberFormat(locale).formatToParts(-1234567.5);
  return {
    group: parts.find((part) => part.type === 'group')?.value ?? '',
    decimal: parts.find((part) => part.type === 'decimal')?.value ?? '.',
  };
}

const numberPattern = /^(-?)(\d+)(?:\.(\d+))?$/;

/** Groups the digits of a canonical number; every digit stays. Other text (`1e+21`, `NaN`) passes unchanged. */
export function groupNumber(text: string, separators: Separators): string {
  const match = numberPattern.exec(text);
  if (!match) return text;
  const sign = match[1] === '-' ? '\u2212' : '';
  const whole = match[2] ?? '';
  let grouped = whole;
  if (whole.length > 3 && separators.group) {
    const head = whole.length % 3;
    const groups = head ? [whole.slice(0, head)] : [];
    for (let at = head; at < whole.length; at += 3) groups.push(whole.slice(at, at + 3));
    grouped = groups.join(separators.group);
  }
  return sign + grouped + (match[3] === undefined ? '' : separators.decimal + match[3]);
}

export function isNumeric(type: ColumnType): boolean {
  return type === 'integer' || type === 'number';
}

const dateTimePattern = /^(\d{4,}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?$/;

/** `2022-12-21T10:00:00Z` is shown as `2022-12-21 10:00 UTC`; seconds only where there are some. */
export function formatDateTime(text: string): string {
  const match = dateTimePattern.exec(text);
  if (!match) return text;
  const fraction = match[4] ?? '';
  const seconds = match[3] && (match[3] !== ':00' || fraction) ? match[3] : '';
  const zone = match[5] === 'Z' ? ' UTC' : match[5] ? ` ${match[5]}` : '';
  return `${match[1]} ${match[2]}${seconds}${fraction}${zone}`;
}

/** Text of a cell on one line. Line breaks become a faint mark, the empty string a pair of quotes. */
export function displayText(value: string | null, column: Column, separators: Separators): string {
  if (value === null) return '';
  if (value === '') return '""';
  switch (column.type) {
    case 'integer':
    case 'number':
      // Keys are names: 10234 read as "10,234" is no longer what people search for.
      return column.key || column.link ? value : groupNumber(value, separators);
    case 'datetime':
      return formatDateTime(value);
    default:
      return value.length > 400 || value.includes('\n') || value.includes('\r') ? oneLine(value) : value;
  }
}

function oneLine(value: string): string {
  const cut = value.length > 400 ? `${value.slice(0, 400)}\u2026` : value;
  return cut.replace(/\r\n|\r|\n/g, ' \u23ce ');
}

/** Spoken and written form of a value for messages, history and tooltips. */
export function describeValue(value: string | null, column: Column | null, separators: Separators): string {
  if (value === null) return 'empty';
  if (value === '') return 'empty text ""';
  if (!column) return value;
  if (column.type === 'boolean') return value === 'true' ? 'yes' : value === 'false' ? 'no' : value;
  if (column.type === 'datetime') return formatDateTime(value);
  return isNumeric(column.type) && !column.key ? groupNumber(value, separators) : value;
}

export function linkText(link: LinkLabel | undefined): string {
  return link ? link.lookups.filter((text) => text !== null && text !== '').join(', ') : '';
}

/** What a person typed or pasted, brought near canonical text. What cannot be read goes to the server
 *  as it is, which refuses it in words of its own. */
export function parseTyped(text: string, column: Column, separators: Separators): string | null {
  if (column.type === 'text' || column.type === 'other') return text === '' ? null : text;
  const trimmed = text.trim();
  if (trimmed === '') return null;
  switch (column.type) {
    case 'integer':
    case 'number':
      return parseNumber(trimmed, separators);
    case 'boolean':
      return parseBoolean(trimmed) ?? trimmed;
    case 'date':
      return parseDate(trimmed) ?? trimmed;
    case 'datetime':
      return parseDateTime(trimmed) ?? trimmed;
  }
}

/** Takes out grouping that is unmistakable in the reader's locale; anything doubtful stays as typed. */
export function parseNumber(text: string, separators: Separators): string {
  const ascii = text.replace(/^\u2212/, '-');
  const space = /\s/.test(separators.group);
  const group = space ? '[\\s\u00a0\u202f]' : escapeForPattern(separators.group);
  const decimal = escapeForPattern(separators.decimal);
  const grouped = separators.group && new RegExp(`^[-+]?\\d{1,3}(${group}\\d{3})+(${decimal}\\d+)?$`).test(ascii);
  if (grouped) return ascii.replace(new RegExp(group, 'g'), '').replace(separators.decimal, '.');
  if (separators.decimal !== '.' && new RegExp(`^[-+]?\\d+${decimal}\\d+$`).test(ascii)) {
    return ascii.replace(separators.decimal, '.');
  }
  return ascii;
}

function escapeForPattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function parseBoolean(text: string): string | null {
  const lower = text.toLowerCase();
  if (['true', 't', 'yes', 'y', '1', 'x', '\u2713'].includes(lower)) return 'true';
  if (['false', 'f', 'no', 'n', '0'].includes(lower)) return 'false';
  return null;
}

/** Reads year first in any punctuation and day.month.year; month/day order is a guess and is left to the server. */
export function parseDate(text: string): string | null {
  const yearFirst = /^(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})$/.exec(text);
  if (yearFirst && (/\D/.test(text) || text.length === 8)) {
    return isoDate(Number(yearFirst[1]), Number(yearFirst[2]), Number(yearFirst[3]));
  }
  const dayFirst = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text);
  if (dayFirst) return isoDate(Number(dayFirst[3]), Number(dayFirst[2]), Number(dayFirst[1]));
  return null;
}

/** The date as ISO text, or null when there is no such day. */
export function isoDate(year: number, month: number, day: number): string | null {
  const date = new Date(Date.UTC(2000, 0, 1));
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  return `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
}

function parseDateTime(text: string): string | null {
  const match = /^(.+?)(?:[T ]\s*(\d{1,2}):(\d\d)(?::(\d\d)(\.\d+)?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?)?$/i.exec(text);
  const date = match?.[1] ? parseDate(match[1].trim()) : null;
  if (!match || !date) return null;
  const zone = match[6] === undefined ? '' : /^(z|utc)$/i.test(match[6]) ? 'Z' : match[6];
  return `${date}T${(match[2] ?? '00').padStart(2, '0')}:${match[3] ?? '00'}:${match[4] ?? '00'}${match[5] ?? ''}${zone}`;
}

/** The next state of a checkbox: true, false, blank; a required one has no blank. */
export function nextBoolean(value: string | null, required: boolean): string | null {
  if (value === 'true') return 'false';
  if (value === 'false') return required ? 'true' : null;
  return 'true';
}

/** Local time in short; today's dates lose the day. */
export function formatWhen(iso: string, now: Date = new Date()): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const time: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' };
  if (date.toDateString() === now.toDateString()) return `today ${date.toLocaleTimeString(undefined, time)}`;
  return date.toLocaleString(undefined, { day: 'numeric', month: 'short', year: 'numeric', ...time });
}
