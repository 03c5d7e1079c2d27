/** Order, width, pinning and visibility of columns, and which of them are on screen. */

import { isNumeric } from './format';
import type { Column, Row } from './types';

export const COLUMN_WIDTH_MIN_PX = 48;
export const COLUMN_WIDTH_MAX_PX = 900;

export interface ColumnView {
  readonly column: Column;
  /** Place of the column's value in `Row.cells`. */
  readonly index: number;
  /** Class names that every cell of the column has. */
  readonly className: string;
  readonly pinned: boolean;
  width: number;
  /** Left edge in px: from the row's left edge when pinned, else from the left edge of the unpinned part. */
  left: number;
  hidden: boolean;
  /** True once a person or the page has chosen the width. */
  sized: boolean;
}

export class ColumnModel {
  /** Columns on display, pinned ones first; a cell's column number is its place here. */
  shown: ColumnView[] = [];
  pinnedCount = 0;
  /** Width of row numbers and pinned columns together. */
  pinnedPx = 0;
  /** Width of the unpinned columns. */
  centerPx = 0;
  gutterPx = 48;
  private views: ColumnView[] = [];
  private byName = new Map<string, ColumnView>();

  constructor(columns: Column[]) {
    this.replace(columns);
  }

  /** Takes new columns and keeps what people chose for those that stay. */
  replace(columns: Column[]): void {
    const former = this.byName;
    const formerOrder = this.views.map((view) => view.column.name);
    this.views = columns.map((column, index) => {
      const old = former.get(column.name);
      return {
        column,
        index,
        className: classOf(column),
        pinned: column.key,
        width: old?.width ?? column.width ?? initialWidth(column),
        left: 0,
        hidden: old?.hidden ?? false,
        sized: old?.sized ?? column.width !== null,
      };
    });
    if (former.size > 0) {
      const place = (view: ColumnView): number => {
        const at = formerOrder.indexOf(view.column.name);
        return at < 0 ? formerOrder.length + view.index : at;
      };
      this.views.sort((a, b) => place(a) - place(b));
    }
    this.byName = new Map(this.views.map((view) => [view.column.name, view]));
    this.layout();
  }

  get all(): readonly ColumnView[] {
    return this.views;
  }

  get(name: string): ColumnView | undefined {
    return this.byName.get(name);
  }

  /** Place of a column among the shown ones, -1 when hidden or unknown. */
  place(name: string): number {
    return this.shown.findIndex((view) => view.column.name === name);
  }

  get totalPx(): number {
    return this.pinnedPx + this.centerPx;
  }

  setGutter(px: number): boolean {
    if (px === this.gutterPx) return false;
    this.gutterPx = px;
    this.layout();
    return true;
  }

  resize(name: string, width: number): void {
    const view = this.byName.get(name);
    if (!view) return;
    view.width = Math.round(Math.min(COLUMN_WIDTH_MAX_PX, Math.max(COLUMN_WIDTH_MIN_PX, width)));
    view.sized = true;
    this.layout();
  }

  setHidden(name: string, hidden: boolean): void {
    const view = this.byName.get(name);
    if (!view) return;
    view.hidden = hidden && this.shown.length > 1;
    this.layout();
  }

  /** Moves a column past its neighbour; pinned and unpinned columns keep apart. Returns whether it moved. */
  move(name: string, by: -1 | 1): boolean {
    const at = this.place(name);
    const view = this.shown[at];
    const neighbour = this.shown[at + by];
    if (!view || !neighbour || view.pinned !== neighbour.pinned) return false;
    const from = this.views.indexOf(view);
    this.views.splice(from, 1);
    const target = this.views.indexOf(neighbour);
    this.views.splice(by > 0 ? target + 1 : target, 0, view);
    this.layout();
    return true;
  }

  /** Fits columns nobody has sized to the first rows. */
  fit(rows: readonly Row[], textOf: (view: ColumnView, row: Row) => string): void {
    for (const view of this.views) {
      if (view.sized) continue;
      let longest = 0;
      let total = 0;
      for (const row of rows) {
        const length = Math.min(textOf(view, row).length, 60);
        longest = Math.max(longest, length);
        total += length;
      }
      // Half a word still reads; half a number is another number.
      const whole = isNumeric(view.column.type) || view.column.type.startsWith('date');
      const typical = whole ? longest : rows.length ? (longest + total / rows.length) / 2 : 0;
      const header = view.column.title.length * 7.4 + 58;
      view.width = Math.round(Math.min(340, Math.max(header, typical * 7.8 + 26, 84)));
      view.sized = true;
    }
    this.layout();
  }

  /** First and last unpinned column on screen as places in `shown`; last < first when there is none. */
  window(scrollLeft: number, viewportPx: number): { first: number; last: number } {
    const right = scrollLeft + Math.max(0, viewportPx - this.pinnedPx);
    let first = this.pinnedCount;
    while (first < this.shown.length - 1) {
      const view = this.shown[first];
      if (view && view.left + view.width > scrollLeft) break;
      first += 1;
    }
    let last = first - 1;
    while (last + 1 < this.shown.length && (this.shown[last + 1]?.left ?? right) < right) last += 1;
    return { first, last };
  }

  private layout(): void {
    const visible = this.views.filter((view) => !view.hidden);
    const pinned = visible.filter((view) => view.pinned);
    const center = visible.filter((view) => !view.pinned);
    let left = this.gutterPx;
    for (const view of pinned) {
      view.left = left;
      left += view.width;
    }
    this.pinnedPx = left;
    left = 0;
    for (const view of center) {
      view.left = left;
      left += view.width;
    }
    this.centerPx = left;
    this.pinnedCount = pinned.length;
    this.shown = [...pinned, ...center];
  }
}

function classOf(column: Column): string {
  let name = 'sg-cell';
  if (column.key) name += ' sg-key';
  if (isNumeric(column.type) && !column.link) name += ' sg-number';
  if (column.type === 'boolean') name += ' sg-boolean';
  if (column.type === 'other') name += ' sg-other';
  if (column.link) name += ' sg-link';
  if (!column.editable) name += ' sg-fixed';
  return name;
}

function initialWidth(column: Column): number {
  const header = column.title.length * 7.4 + 58;
  const byType = { text: 170, integer: 104, number: 104, boolean: 96, date: 112, datetime: 168, other: 140 };
  const typical = column.link || column.multiline ? 240 : byType[column.type];
  return Math.round(Math.max(header, typical));
}
