import { describe, expect, it } from 'vitest';
import { movement, Selection } from './selection';

const table = { control: false, rows: 100, columns: 5, screen: 20 };

describe('selection', () => {
  it('stretches from its anchor in any direction', () => {
    const selection = new Selection();
    selection.moveTo(5, 2);
    selection.extendTo(3, 4);
    expect(selection.range).toEqual({ rowFirst: 3, rowLast: 5, columnFirst: 2, columnLast: 4 });
    expect(selection.active).toEqual({ row: 5, column: 2 });
    expect(selection.cells).toBe(9);
    expect(selection.has(4, 3)).toBe(true);
    expect(selection.has(6, 3)).toBe(false);
  });

  it('counts ten million rows without visiting them', () => {
    const selection = new Selection();
    selection.select({ rowFirst: 0, rowLast: 9_999_999, columnFirst: 0, columnLast: 19 });
    expect(selection.cells).toBe(200_000_000);
  });

  it('never holds the header in a range', () => {
    const selection = new Selection();
    selection.moveTo(-1, 2);
    selection.extendTo(4, 2);
    expect(selection.range.rowFirst).toBe(0);
  });

  it('stays inside a smaller table', () => {
    const selection = new Selection();
    selection.moveTo(50, 4);
    selection.clamp(10, 2);
    expect(selection.active).toEqual({ row: 9, column: 1 });
  });
});

describe('movement', () => {
  it('stops at the edges and reaches the header', () => {
    expect(movement({ row: 0, column: 0 }, { ...table, key: 'ArrowUp' })).toEqual({ row: -1, column: 0 });
    expect(movement({ row: 99, column: 4 }, { ...table, key: 'ArrowDown' })).toEqual({ row: 99, column: 4 });
    expect(movement({ row: 2, column: 0 }, { ...table, key: 'ArrowLeft' })).toEqual({ row: 2, column: 0 });
  });

  it('jumps with Control', () => {
    expect(movement({ row: 5, column: 2 }, { ...table, control: true, key: 'End' })).toEqual({ row: 99, column: 4 });
    expect(movement({ row: 5, column: 2 }, { ...table, control: true, key: 'Home' })).toEqual({ row: 0, column: 0 });
    expect(movement({ row: 5, column: 2 }, { ...table, control: true, key: 'ArrowDown' })).toEqual({ row: 99, column: 2 });
  });

  it('pages by screens', () => {
    expect(movement({ row: 5, column: 2 }, { ...table, key: 'PageDown' })).toEqual({ row: 25, column: 2 });
    expect(movement({ row: 5, column: 2 }, { ...table, key: 'PageUp' })).toEqual({ row: 0, column: 2 });
  });

  it('stays in the header of an empty table', () => {
    expect(movement({ row: -1, column: 0 }, { ...table, rows: 0, key: 'ArrowDown' })).toEqual({ row: -1, column: 0 });
  });

  it('knows no other keys', () => {
    expect(movement({ row: 0, column: 0 }, { ...table, key: 'a' })).toBeNull();
  });
});
