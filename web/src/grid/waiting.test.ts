import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { WaitProgress } from '../lib/wait';
import { createGrid } from './grid';
import type { Column, Grid, GridOptions, Page, Query, RowSource } from './types';

const TOTAL = 10_000_000;
const column: Column = {
  name: 'a',
  title: 'Alpha',
  type: 'text',
  key: true,
  editable: false,
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
};
const plain: Query = { sort: [], filters: [], states: [] };
const sorted: Query = { sort: [{ column: 'a', descending: true }], filters: [], states: [] };

interface Asked {
  query: Query;
  wait: string | undefined;
  signal: AbortSignal;
  limit: number;
  answer: (told?: Partial<Page>) => Promise<void>;
}

function setup(query: Query = plain) {
  const asked: Asked[] = [];
  let progress: WaitProgress = { step: 'none', rows: null, percent: 0 };
  const cancel = vi.fn(() => Promise.resolve());
  const source: RowSource = {
    page: (of, offset, limit, signal, { wait } = {}) =>
      new Promise((done) => {
        const rows = Array.from({ length: limit }, (_, at) => ({
          key: `k${offset + at}`,
          cells: [`${offset + at}`],
          event: null,
          created: false,
          edits: {},
        }));
        const page: Page = { version: 1, snapshot: 's', total: TOTAL, offset, rows, links: {} };
        const answer = async (told: Partial<Page> = {}): Promise<void> => {
          done({ ...page, ...told });
          await vi.advanceTimersByTimeAsync(50);
        };
        asked.push({ query: of, wait, signal, limit, answer });
      }),
    progress: () => Promise.resolve(progress),
    cancel,
    edit: () => Promise.reject(new Error('not used')),
    history: () => Promise.reject(new Error('not used')),
    links: () => Promise.reject(new Error('not used')),
  };
  const options: GridOptions = { columns: [column], source, readOnly: null, label: 'Table', query, rows: TOTAL };
  const onQuery = vi.fn();
  const onMessage = vi.fn();
  const onStatus = vi.fn();
  const grid: Grid = createGrid(document.body, { ...options, onQuery, onMessage, onStatus });
  const node = document.querySelector<HTMLElement>('.sg-wait');
  const live = document.querySelector('.sg-live');
  if (!node || !live) throw new Error('the grid has no place to tell of a wait');
  const table = document.querySelector('[role=grid]');
  const key = async (name: string): Promise<void> => {
    const init = { key: name, ctrlKey: true, bubbles: true, cancelable: true };
    grid.focus();
    document.activeElement?.dispatchEvent(new KeyboardEvent('keydown', init));
    await vi.advanceTimersByTimeAsync(50);
  };
  const active = (): string | null | undefined =>
    document.querySelector('.sg-active')?.closest('[role=row]')?.getAttribute('aria-rowindex');
  return { grid, table, key, active, asked, cancel, node, live, onQuery, onMessage, onStatus, tell: (next: WaitProgress) => (progress = next) };
}

function bar(node: HTMLElement): Element {
  const found = node.querySelector('[role=progressbar]');
  if (!found) throw new Error('no bar');
  return found;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe(): void {}
      disconnect(): void {}
    },
  );
  // The grid paints only what has a size.
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(600);
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(800);
});
afterEach(() => {
  document.body.replaceChildren();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('waiting for rows', () => {
  it('is shown after a while, with how far they are, and is over with the rows', async () => {
    const { grid, asked, node, live, tell } = setup();
    await asked[0]?.answer();
    grid.setQuery(sorted);
    tell({ step: 'sorting', rows: TOTAL, percent: 43 });
    await vi.advanceTimersByTimeAsync(200);
    expect(node.hidden).toBe(true);
    await vi.advanceTimersByTimeAsync(200);
    expect(node.hidden).toBe(false);
    expect(node.textContent).toBe('Sorting 10,000,000 rows…43 %Cancel Esc');
    expect(bar(node).getAttribute('aria-valuenow')).toBe('43');
    expect(live.textContent).toBe('Sorting 10,000,000 rows… Escape cancels.');
    // The next figures are shown, and not spoken.
    tell({ step: 'sorting', rows: TOTAL, percent: 61 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(bar(node).getAttribute('aria-valuenow')).toBe('61');
    expect(live.textContent).toBe('Sorting 10,000,000 rows… Escape cancels.');
    tell({ step: 'queued', rows: null, percent: 61 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(bar(node).hasAttribute('aria-valuenow')).toBe(false);
    tell({ step: 'sorting', rows: TOTAL, percent: 90 });
    await vi.advanceTimersByTimeAsync(2_000);
    await asked[1]?.answer();
    expect(node.hidden).toBe(true);
    expect(live.textContent).toBe('Sorted');
    grid.destroy();
  });

  it('is cancelled with Escape, back to the order and the place before', async () => {
    const { grid, asked, cancel, node, onQuery, onMessage, live } = setup();
    await asked[0]?.answer();
    grid.setQuery(sorted);
    await vi.advanceTimersByTimeAsync(400);
    expect(node.hidden).toBe(false);
    const gone = asked[1];
    expect(gone?.query).toEqual(sorted);
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', cancelable: true }));
    expect(gone?.signal.aborted).toBe(true);
    expect(cancel).toHaveBeenCalledExactlyOnceWith(gone?.wait);
    expect(grid.query()).toEqual(plain);
    expect(onQuery).toHaveBeenLastCalledWith(plain);
    expect(onMessage).toHaveBeenCalledWith({
      kind: 'info',
      text: 'Cancelled. The table shows all rows in the order of the original, as before.',
    });
    await vi.advanceTimersByTimeAsync(50);
    expect(node.hidden).toBe(true);
    expect(live.textContent).toMatch(/^Cancelled/);
    // A wait of its own for what is asked now.
    expect(asked[2]?.query).toEqual(plain);
    expect(asked[2]?.wait).not.toBe(gone?.wait);
    await asked[2]?.answer();
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', cancelable: true }));
    expect(cancel).toHaveBeenCalledTimes(1);
    grid.destroy();
  });

  it('leads back past queries whose rows nobody saw, also from a page that began with one', async () => {
    const { grid, asked, node } = setup(sorted);
    grid.setQuery({ ...sorted, states: ['mine'] });
    await vi.advanceTimersByTimeAsync(400);
    node.querySelector('button')?.click();
    expect(grid.query()).toEqual(plain);
    await asked.at(-1)?.answer();
    grid.setQuery(sorted);
    await asked.at(-1)?.answer();
    grid.setQuery({ ...sorted, states: ['mine'] });
    await vi.advanceTimersByTimeAsync(100);
    grid.setQuery({ ...sorted, states: ['created'] });
    await vi.advanceTimersByTimeAsync(400);
    node.querySelector('button')?.click();
    expect(grid.query()).toEqual(sorted);
    grid.destroy();
  });

  it('cannot be cancelled where there is nothing to go back to', async () => {
    const { grid, node, cancel } = setup();
    await vi.advanceTimersByTimeAsync(400);
    expect(node.hidden).toBe(false);
    expect(node.querySelector('button')?.hidden).toBe(true);
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', cancelable: true }));
    expect(cancel).not.toHaveBeenCalled();
    grid.destroy();
  });
});

describe('rows that are still counted', () => {
  const pending = { total: 200, total_pending: true };

  it('are shown, and their number is taken over where nobody sees anything move', async () => {
    const { grid, table, asked, node, onStatus } = setup(sorted);
    await asked[0]?.answer(pending);
    expect(table?.getAttribute('aria-rowcount')).toBe('-1');
    await vi.advanceTimersByTimeAsync(200);
    expect(onStatus).toHaveBeenLastCalledWith(expect.objectContaining({ total: 200, counting: true, loading: false }));
    expect(document.querySelectorAll('.sg-row[data-key]').length).toBeGreaterThan(10);
    const gutter = document.querySelector<HTMLElement>('.stet-grid')?.style.getPropertyValue('--sg-gutter');
    // There are rows to look at: nothing is laid over them for a count that is soon done.
    await vi.advanceTimersByTimeAsync(1_000);
    expect(node.hidden).toBe(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(node.hidden).toBe(false);
    expect(node.textContent).toContain('Counting the rows…');
    await asked[1]?.answer({ total: 5_000 });
    expect(node.hidden).toBe(true);
    expect(table?.getAttribute('aria-rowcount')).toBe('5001');
    expect(onStatus).toHaveBeenLastCalledWith(expect.objectContaining({ total: 5_000, counting: false }));
    expect(document.querySelector<HTMLElement>('.stet-grid')?.style.getPropertyValue('--sg-gutter')).toBe(gutter);
    grid.destroy();
  });

  it('are jumped to the end of once that is known', async () => {
    const { grid, key, active, asked, node } = setup(sorted);
    await asked[0]?.answer(pending);
    await key('End');
    expect(active()).toBe('2');
    await vi.advanceTimersByTimeAsync(400);
    expect(node.hidden).toBe(false);
    await asked[1]?.answer({ total: 5_000 });
    await vi.advanceTimersByTimeAsync(50);
    expect(active()).toBe('5001');
    expect(asked.at(-1)?.limit).toBe(200);
    grid.destroy();
  });

  it('are not jumped to the end of by who went elsewhere meanwhile', async () => {
    const { grid, key, active, asked } = setup(sorted);
    await asked[0]?.answer(pending);
    await key('End');
    await key('ArrowUp');
    await asked[1]?.answer({ total: 5_000 });
    await vi.advanceTimersByTimeAsync(50);
    expect(active()).toBe('2');
    grid.destroy();
  });

  it('are no empty table when none are known yet', async () => {
    const { grid, asked } = setup(sorted);
    await asked[0]?.answer({ total: 0, total_pending: true, rows: [] });
    const panel = document.querySelector<HTMLElement>('.sg-panel');
    expect(panel?.hidden).toBe(true);
    await asked[1]?.answer({ total: 0 });
    expect(panel?.hidden).toBe(false);
    grid.destroy();
  });
});
