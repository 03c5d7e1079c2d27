/** Ranges of cells as TSV and HTML, the two forms in which spreadsheets exchange them. */

/** A cell is quoted when it would otherwise break the grid of tabs and line ends. The empty string is
 *  written as `""`, so that it stays apart from an empty cell. */
export function toTsv(rows: (string | null)[][]): string {
  return rows.map((row) => row.map(quoteCell).join('\t')).join('\r\n');
}

function quoteCell(value: string | null): string {
  if (value === null) return '';
  if (value === '') return '""';
  return /[\t\r\n]|^"/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

/** An HTML table for programs that ask for one. This string goes to the clipboard only, never into the page. */
export function toHtml(rows: (string | null)[][]): string {
  const body = rows.map((row) => `<tr>${row.map((value) => `<td>${escapeHtml(value ?? '')}</td>`).join('')}</tr>`);
  return `<table><tbody>${body.join('')}</tbody></table>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replace(/\r\n|\r|\n/g, '<br style="mso-data-placement:same-cell">');
}

/** Reads TSV with quoted cells and LF, CRLF or CR line ends. An empty cell is null, `""` the empty string. */
export function parseTsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [];
  let row: (string | null)[] = [];
  let at = 0;
  const length = text.length;
  while (at <= length) {
    let value: string | null;
    const quoted = text[at] === '"' ? readQuoted(text, at) : null;
    if (quoted) {
      value = quoted.value;
      at = quoted.end;
    } else {
      const start = at;
      while (at < length && text[at] !== '\t' && text[at] !== '\n' && text[at] !== '\r') at += 1;
      value = at === start ? null : text.slice(start, at);
    }
    row.push(value);
    if (at >= length) {
      rows.push(row);
      break;
    }
    if (text[at] === '\t') {
      at += 1;
      continue;
    }
    at += text[at] === '\r' && text[at + 1] === '\n' ? 2 : 1;
    rows.push(row);
    row = [];
    // Spreadsheets end the last line too; that end opens no further row.
    if (at >= length) break;
  }
  return rows;
}

/** A quoted cell, or null when the quote is an ordinary character because nothing closes it properly. */
function readQuoted(text: string, start: number): { value: string; end: number } | null {
  let value = '';
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return null;
    value += text.slice(from, quote);
    const next = text[quote + 1];
    if (next === '"') {
      value += '"';
      from = quote + 2;
    } else if (next === undefined || next === '\t' || next === '\n' || next === '\r') {
      return { value, end: quote + 1 };
    } else {
      return null;
    }
  }
}
