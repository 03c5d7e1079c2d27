import { describe, expect, it } from 'vitest';
import { displayText, formatDateTime, groupNumber, isoDate, nextBoolean, parseDate, parseNumber, parseTyped } from './format';
import type { Column, ColumnType } from './types';

const english = { group: ',', decimal: '.' };
const german = { group: '.', decimal: ',' };
const french = { group: '\u202f', decimal: ',' };

function column(type: ColumnType, more: Partial<Column> = {}): Column {
  return {
    name: 'c',
    title: 'C',
    type,
    key: false,
    editable: true,
    multiline: false,
    required: false,
    validation: false,
    comments: false,
    allowed: null,
    min: null,
    max: null,
    link: null,
    width: null,
    description: null,
    ...more,
  };
}

describe('numbers', () => {
  it('keeps every digit of a 64-bit integer', () => {
    expect(groupNumber('9223372036854775807', english)).toBe('9,223,372,036,854,775,807');
    expect(groupNumber('-9223372036854775808', german)).toBe('\u22129.223.372.036.854.775.808');
  });

  it('leaves the digits after the decimal sign alone', () => {
    expect(groupNumber('1234.5678', german)).toBe('1.234,5678');
    expect(groupNumber('0.0001', english)).toBe('0.0001');
  });

  it('passes numbers that are not written in digits', () => {
    for (const text of ['1e+21', 'NaN', 'Infinity']) expect(groupNumber(text, english)).toBe(text);
  });

  it('does not group keys', () => {
    expect(displayText('200001', column('integer', { key: true }), english)).toBe('200001');
    expect(displayText('200001', column('integer'), english)).toBe('200,001');
  });

  it('reads back the grouping of the locale', () => {
    expect(parseNumber('1,234,567.5', english)).toBe('1234567.5');
    expect(parseNumber('1.234,5', german)).toBe('1234.5');
    expect(parseNumber('1\u202f234,5', french)).toBe('1234.5');
    expect(parseNumber('1 234', french)).toBe('1234');
    expect(parseNumber('\u22125', english)).toBe('-5');
  });

  it('leaves doubtful numbers for the server to refuse', () => {
    for (const text of ['12,34', '1 200.50', '12x', '1,2345']) expect(parseNumber(text, english)).toBe(text);
  });
});

describe('other values', () => {
  it('shows null as nothing and the empty string as quotes', () => {
    expect(displayText(null, column('text'), english)).toBe('');
    expect(displayText('', column('text'), english)).toBe('""');
  });

  it('shows line ends as a mark', () => {
    expect(displayText('a\r\nb\nc', column('text'), english)).toBe('a \u23ce b \u23ce c');
  });

  it('reads dates with the year first or day.month.year', () => {
    expect(parseDate('2022-12-21')).toBe('2022-12-21');
    expect(parseDate('2022/1/5')).toBe('2022-01-05');
    expect(parseDate('20220105')).toBe('2022-01-05');
    expect(parseDate('5.1.2022')).toBe('2022-01-05');
  });

  it('guesses no date', () => {
    for (const text of ['01/02/2022', '2022-02-30', '2022', 'yesterday', '202215']) expect(parseDate(text)).toBeNull();
  });

  it('knows leap years and years before 100', () => {
    expect(isoDate(2024, 2, 29)).toBe('2024-02-29');
    expect(isoDate(2023, 2, 29)).toBeNull();
    expect(isoDate(33, 4, 3)).toBe('0033-04-03');
  });

  it('shows seconds only where there are some', () => {
    expect(formatDateTime('2022-12-21T10:00:00Z')).toBe('2022-12-21 10:00 UTC');
    expect(formatDateTime('2022-12-21T10:00:07.25')).toBe('2022-12-21 10:00:07.25');
    expect(formatDateTime('2022-12-21T10:00:00+02:00')).toBe('2022-12-21 10:00 +02:00');
  });

  it('reads a time as it is shown', () => {
    expect(parseTyped('2022-12-21 10:00 UTC', column('datetime'), english)).toBe('2022-12-21T10:00:00Z');
    expect(parseTyped('2022-12-21 9:05', column('datetime'), english)).toBe('2022-12-21T09:05:00');
  });

  it('keeps spaces of text and empties on nothing', () => {
    expect(parseTyped(' NA ', column('text'), english)).toBe(' NA ');
    expect(parseTyped('', column('text'), english)).toBeNull();
    expect(parseTyped('  ', column('integer'), english)).toBeNull();
  });

  it('cycles a checkbox through true, false and blank', () => {
    expect([null, 'true', 'false'].map((value) => nextBoolean(value, false))).toEqual(['true', 'false', null]);
    expect(nextBoolean('false', true)).toBe('true');
  });
});
