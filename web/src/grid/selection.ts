/** Which cells are selected: one rectangle of row and column intervals, so its size costs nothing.
 *  Row -1 is the header. */

export interface CellPosition {
  row: number;
  column: number;
}

export interface Range {
  rowFirst: number;
  rowLast: number;
  columnFirst: number;
  columnLast: number;
}

export const HEADER_ROW = -1;

export class Selection {
  /** The cell with the keyboard. */
  active: CellPosition = { row: 0, column: 0 };
  /** The corner of the rectangle that stays while the other one moves. */
  private anchor: CellPosition = { row: 0, column: 0 };
  private corner: CellPosition = { row: 0, column: 0 };

  get range(): Range {
    return {
      rowFirst: Math.min(this.anchor.row, this.corner.row),
      rowLast: Math.max(this.anchor.row, this.corner.row),
      columnFirst: Math.min(this.anchor.column, this.corner.column),
      columnLast: Math.max(this.anchor.column, this.corner.column),
    };
  }

  /** The corner that moves with Shift. */
  get moving(): CellPosition {
    return this.corner;
  }

  get single(): boolean {
    return this.anchor.row === this.corner.row && this.anchor.column === this.corner.column;
  }

  get cells(): number {
    const range = this.range;
    return (range.rowLast - range.rowFirst + 1) * (range.columnLast - range.columnFirst + 1);
  }

  has(row: number, column: number): boolean {
    const range = this.range;
    return (
      row >= range.rowFirst && row <= range.rowLast && column >= range.columnFirst && column <= range.columnLast
    );
  }

  moveTo(row: number, column: number): void {
    this.active = { row, column };
    this.anchor = this.active;
    this.corner = this.active;
  }

  /** Stretches the rectangle to a cell; the active cell stays. The header cannot be in a rectangle. */
  extendTo(row: number, column: number): void {
    if (this.anchor.row === HEADER_ROW) this.moveTo(0, this.anchor.column);
    this.corner = { row: Math.max(0, row), column };
  }

  select(range: Range): void {
    this.anchor = { row: range.rowFirst, column: range.columnFirst };
    this.corner = { row: range.rowLast, column: range.columnLast };
    this.active = this.anchor;
  }

  /** Keeps everything inside a table that has become smaller. */
  clamp(rows: number, columns: number): void {
    const fit = (at: CellPosition): CellPosition => ({
      row: Math.max(HEADER_ROW, Math.min(at.row, rows - 1)),
      column: Math.max(0, Math.min(at.column, columns - 1)),
    });
    this.active = fit(this.active);
    this.anchor = fit(this.anchor);
    this.corner = fit(this.corner);
  }
}

export interface Motion {
  key: string;
  control: boolean;
  rows: number;
  columns: number;
  /** Rows on one screen. */
  screen: number;
}

/** Where a movement key leads from a cell; null when the key is none. */
export function movement(from: CellPosition, motion: Motion): CellPosition | null {
  const { rows, columns, control, screen } = motion;
  const rowLast = rows - 1;
  const columnLast = columns - 1;
  const row = (value: number): number => Math.max(rows ? 0 : HEADER_ROW, Math.min(rowLast, value));
  const column = (value: number): number => Math.max(0, Math.min(columnLast, value));
  switch (motion.key) {
    case 'ArrowUp':
      if (control) return { row: row(0), column: from.column };
      return { row: Math.max(HEADER_ROW, from.row - 1), column: from.column };
    case 'ArrowDown':
      return { row: row(control ? rowLast : from.row + 1), column: from.column };
    case 'ArrowLeft':
      return { row: from.row, column: column(control ? 0 : from.column - 1) };
    case 'ArrowRight':
      return { row: from.row, column: column(control ? columnLast : from.column + 1) };
    case 'Home':
      return { row: control ? row(0) : from.row, column: 0 };
    case 'End':
      return { row: control ? row(rowLast) : from.row, column: columnLast };
    case 'PageUp':
      return { row: row(from.row - screen), column: from.column };
    case 'PageDown':
      return { row: row(from.row + screen), column: from.column };
    default:
      return null;
  }
}
