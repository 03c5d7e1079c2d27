import { describe, expect, it } from 'vitest';
import { parseTsv, toHtml, toTsv } from './clipboard';

describe('clipboard', () => {
  it('brings back every kind of cell that it wrote', () => {
    const rows = [
      ['plain', null, ''],
      ['tab\there', 'line\nend', 'said "so"'],
      ['"quoted"', 'حمامة', '9223372036854775807'],
    ];
    expect(parseTsv(toTsv(rows))).toEqual(rows);
  });

  it('reads LF, CRLF and CR line ends alike', () => {
    const rows = [
      ['a', 'b'],
      ['c', 'd'],
    ];
    for (const end of ['\n', '\r\n', '\r']) expect(parseTsv(`a\tb${end}c\td`)).toEqual(rows);
  });

  it('opens no row after the last line end', () => {
    expect(parseTsv('a\r\nb\r\n')).toEqual([['a'], ['b']]);
  });

  it('keeps empty cells at the end of a line', () => {
    expect(parseTsv('a\t\t')).toEqual([['a', null, null]]);
  });

  it('takes a quote as a character when nothing closes it', () => {
    expect(parseTsv('"6 ft\tb')).toEqual([['"6 ft', 'b']]);
    expect(parseTsv('"a"b\tc')).toEqual([['"a"b', 'c']]);
  });

  it('tells the empty string from an empty cell', () => {
    expect(parseTsv('""\t')).toEqual([['', null]]);
  });

  it('escapes markup in the HTML form', () => {
    expect(toHtml([['<b>&"', 'a\nb']])).toBe(
      '<table><tbody><tr><td>&lt;b&gt;&amp;&quot;</td><td>a<br style="mso-data-placement:same-cell">b</td></tr></tbody></table>',
    );
  });
});
