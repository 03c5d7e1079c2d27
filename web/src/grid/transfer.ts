/** Copy, cut, paste, fill and empty: many cells at once, each a single batch for the server and for undo. */

import type { ColumnView } from './columns';
import { parseTsv, toHtml, toTsv } from './clipboard';
import { count, type Change } from './edits';
import { nextBoolean, parseTyped } from './format';
import type { GridCore } from './grid';
import type { Range } from './selection';
import type { EditSource, Row } from './types';

/** More cells than this are not copied or changed at once. */
export const CELLS_MAX = 500_000;

export class Transfer {
  private readonly core: GridCore;
  private running = false;

  constructor(core: GridCore) {
    this.core = core;
  }

  /** Puts the selection on the clipboard of a copy or cut event. */
  copy(event: ClipboardEvent, cut: boolean): void {
    const { core } = this;
    event.preventDefault();
    const range = core.selection.range;
    if (range.rowFirst < 0 || !this.withinLimit(core.selection.cells)) return;
    const rows = this.loaded(range);
    if (!rows) {
      void this.copyToSystem().then((done) => (done && cut ? this.clear() : undefined));
      return;
    }
    const values = rows.map((row) => this.valuesOf(row, range));
    event.clipboardData?.setData('text/plain', toTsv(values));
    event.clipboardData?.setData('text/html', toHtml(values));
    core.announce(`${count(core.selection.cells, 'cell')} ${cut ? 'cut' : 'copied'}`);
    if (cut) void this.clear();
  }

  /** Copies through the system's clipboard, fetching rows that are not loaded. Returns whether it worked. */
  async copyToSystem(): Promise<boolean> {
    const { core } = this;
    const range = core.selection.range;
    if (range.rowFirst < 0 || !this.withinLimit(core.selection.cells)) return false;
    try {
      const rows = await this.rowsOf(range.rowFirst, range.rowLast);
      const values = rows.map((row) => this.valuesOf(row, range));
      const item = new ClipboardItem({
        'text/plain': new Blob([toTsv(values)], { type: 'text/plain' }),
        'text/html': new Blob([toHtml(values)], { type: 'text/html' }),
      });
      await navigator.clipboard.write([item]);
      core.message('info', `${count(core.selection.cells, 'cell')} copied`);
      return true;
    } catch (error) {
      core.message('error', `The browser did not allow copying: ${reasonOf(error)}. Select fewer rows and press Ctrl+C.`);
      return false;
    }
  }

  async pasteFromSystem(): Promise<void> {
    try {
      await this.paste(await navigator.clipboard.readText());
    } catch {
      this.core.message('info', 'The browser keeps its clipboard closed to menus. Press Ctrl+V to paste.');
    }
  }

  /** Pastes TSV at the selection. One value fills it; a block that fits several times is repeated. */
  async paste(text: string): Promise<void> {
    const { core } = this;
    const range = core.selection.range;
    if (text === '' || range.rowFirst < 0 || this.isReadOnly()) return;
    const block = parseTsv(text);
    const height = block.length;
    const width = Math.max(...block.map((line) => line.length));
    const selectedRows = range.rowLast - range.rowFirst + 1;
    const selectedColumns = range.columnLast - range.columnFirst + 1;
    const rowsWanted = selectedRows % height === 0 ? selectedRows : height;
    const columnsWanted = selectedColumns % width === 0 ? selectedColumns : width;
    if (!this.withinLimit(rowsWanted * columnsWanted)) return;
    if (range.rowFirst + rowsWanted > core.rowsTotal && !(await core.pages.whenCounted())) {
      core.message('info', 'Nothing was pasted, as other rows were asked for meanwhile');
      return;
    }
    const target: Range = {
      rowFirst: range.rowFirst,
      rowLast: Math.min(core.rowsTotal, range.rowFirst + rowsWanted) - 1,
      columnFirst: range.columnFirst,
      columnLast: Math.min(core.columns.shown.length, range.columnFirst + columnsWanted) - 1,
    };
    const lost = rowsWanted - (target.rowLast - target.rowFirst + 1);
    if (lost > 0) core.message('info', `${count(lost, 'row')} of the clipboard did not fit below the last row`);
    core.selection.select(target);
    core.repaint();
    await this.change(target, 'paste', 'Paste', (row, column, view) => {
      const line = block[row % height];
      const cell = line?.[column % width] ?? null;
      // A quoted empty cell is the empty string; for other types than text it can only mean empty.
      if (cell === '' && view.column.type === 'text') return '';
      return cell === null ? null : parseTyped(cell, view.column, core.separators);
    });
  }

  async clear(): Promise<void> {
    if (this.isReadOnly()) return;
    const range = this.core.selection.range;
    if (range.rowFirst < 0 || !this.withinLimit(this.core.selection.cells)) return;
    await this.change(range, 'grid', 'Empty', () => null);
  }

  /** Fills the selection downwards from its first row; a single cell takes the value above it. */
  async fillDown(): Promise<void> {
    const { core } = this;
    if (this.isReadOnly()) return;
    let range = core.selection.range;
    if (range.rowFirst < 0 || !this.withinLimit(core.selection.cells)) return;
    if (range.rowFirst === range.rowLast) {
      if (range.rowFirst === 0) return;
      range = { ...range, rowFirst: range.rowFirst - 1 };
    }
    const [first] = await this.rowsOf(range.rowFirst, range.rowFirst);
    if (!first) return;
    const values = this.valuesOf(first, range);
    await this.change({ ...range, rowFirst: range.rowFirst + 1 }, 'fill', 'Fill down', (_row, column) => values[column] ?? null);
  }

  /** Gives every selected checkbox the next state of the active one. Returns false where there is none. */
  toggle(): boolean {
    const { core } = this;
    const active = core.activeCell();
    if (active?.view.column.type !== 'boolean') return false;
    if (core.selection.single) {
      core.editor.start(null);
      return true;
    }
    if (this.isReadOnly()) return true;
    const held = core.states.get(active.row.key, active.view.column.name);
    const value = held ? held.value : (active.row.cells[active.view.index] ?? null);
    const next = nextBoolean(value, active.view.column.required);
    const range = { ...core.selection.range, columnFirst: core.selection.active.column, columnLast: core.selection.active.column };
    void this.change(range, 'fill', 'Tick', () => next);
    return true;
  }

  /** Changes every editable cell of a range as one batch. `valueOf` gets offsets inside the range. */
  private async change(
    range: Range,
    source: EditSource,
    label: string,
    valueOf: (row: number, column: number, view: ColumnView) => string | null,
  ): Promise<void> {
    const { core } = this;
    if (this.running) {
      core.message('info', 'Another change of many cells is still running. Try again when it is done.');
      return;
    }
    this.running = true;
    try {
      const views = core.columns.shown.slice(range.columnFirst, range.columnLast + 1);
      const rows = await this.rowsOf(range.rowFirst, range.rowLast);
      const changes: Change[] = [];
      let fixed = 0;
      rows.forEach((row, rowOffset) => {
        views.forEach((view, columnOffset) => {
          if (core.whyFixed(view, row) !== null) fixed += 1;
          else changes.push({ row, column: view.column.name, value: valueOf(rowOffset, columnOffset, view) });
        });
      });
      if (fixed > 0) {
        const many = changes.length === 0 && fixed === 1;
        core.message('info', many ? 'This cell cannot be edited' : `${count(fixed, 'cell')} cannot be edited and stay as they are`);
      }
      await core.edits.update(changes, source, label);
    } catch (error) {
      core.message('error', `${label}: the rows could not be loaded: ${reasonOf(error)}`);
    } finally {
      this.running = false;
    }
  }

  private loaded(range: Range): Row[] | null {
    const rows: Row[] = [];
    for (let index = range.rowFirst; index <= range.rowLast; index += 1) {
      const row = this.core.pages.row(index);
      if (!row) return null;
      rows.push(row);
    }
    return rows;
  }

  private rowsOf(first: number, last: number): Promise<Row[]> {
    return this.core.pages.rows(first, last, this.core.lifetime, (done) => {
      this.core.announce(`${done} of ${last - first + 1} rows loaded`);
    });
  }

  private valuesOf(row: Row, range: Range): (string | null)[] {
    return this.core.columns.shown.slice(range.columnFirst, range.columnLast + 1).map((view) => {
      const state = this.core.states.get(row.key, view.column.name);
      return state ? state.value : (row.cells[view.index] ?? null);
    });
  }

  private withinLimit(cells: number): boolean {
    if (cells <= CELLS_MAX) return true;
    this.core.message('error', `${count(cells, 'cell')} are selected; at most ${CELLS_MAX.toLocaleString()} can be handled at once.`);
    return false;
  }

  private isReadOnly(): boolean {
    const reason = this.core.readOnly;
    if (reason !== null) this.core.message('info', reason);
    return reason !== null;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
