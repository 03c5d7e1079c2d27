import { describe, expect, it } from 'vitest';
import { ScrollMap, SIZER_PX_MAX } from './scroll';

const ROW = 30;
const VIEW = 600;

function map(rows: number): ScrollMap {
  const scroll = new ScrollMap();
  scroll.resize(rows, ROW, VIEW);
  return scroll;
}

describe('scroll mapping', () => {
  it('is the identity while the table fits under the cap', () => {
    const scroll = map(1000);
    scroll.scrolled(12_345);
    expect(scroll.top).toBe(12_345);
    expect(scroll.sizerPx).toBe(30_000);
  });

  it('never makes the element larger than the cap', () => {
    expect(map(10_000_000).sizerPx).toBe(SIZER_PX_MAX);
  });

  it('reaches the last row of ten million', () => {
    const scroll = map(10_000_000);
    scroll.scrolled(scroll.physicalMax);
    expect(scroll.top).toBe(10_000_000 * ROW - VIEW);
    scroll.scrolled(0);
    expect(scroll.top).toBe(0);
  });

  it('applies small movements pixel for pixel', () => {
    const scroll = map(10_000_000);
    const middle = scroll.moveTo(150_000_000);
    expect(scroll.scrolled(middle + 90)).toBe(false);
    expect(scroll.top).toBe(150_000_090);
  });

  it('maps far jumps by proportion', () => {
    const scroll = map(10_000_000);
    expect(scroll.scrolled(scroll.physicalMax / 2)).toBe(true);
    expect(scroll.top).toBeCloseTo(scroll.virtualMax / 2, 0);
  });

  it('reaches every row by moving, one row at a time, near both ends', () => {
    const scroll = map(10_000_000);
    for (const start of [0, scroll.virtualMax - 40 * ROW]) {
      scroll.moveTo(start);
      for (let step = 1; step <= 40; step += 1) {
        scroll.moveTo(scroll.top + ROW);
        expect(scroll.top).toBe(start + step * ROW);
      }
    }
  });

  it('leaves room to scroll back unless it is at an end', () => {
    const scroll = map(10_000_000);
    expect(scroll.moveTo(1)).toBe(1);
    expect(scroll.moveTo(scroll.virtualMax - 1)).toBe(scroll.physicalMax - 1);
  });

  it('stays inside a table that has become smaller', () => {
    const scroll = map(1000);
    scroll.moveTo(20_000);
    scroll.resize(100, ROW, VIEW);
    expect(scroll.top).toBe(100 * ROW - VIEW);
    scroll.resize(3, ROW, VIEW);
    expect(scroll.top).toBe(0);
  });
});
