import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PAGE_ROWS, PageCache } from './pages';
import type { Page, Query, Row, RowSource } from './types';

const query: Query = { sort: [], filters: [], states: [] };
const TOTAL = 10_000_000;

function row(index: number, value = `v${index}`): Row {
  return { key: `k${index}`, cells: [value], event: null, created: false, edits: {} };
}

function page(offset: number, limit: number, version = 1): Page {
  const rows = Array.from({ length: Math.min(limit, TOTAL - offset) }, (_, at) => row(offset + at));
  return { version, snapshot: 's', total: TOTAL, offset, rows, links: {} };
}

function setup() {
  const asked: { offset: number; signal: AbortSignal; answer: (page: Page) => void; fail: (error: Error) => void }[] = [];
  const source: RowSource = {
    page: (_query, offset, _limit, signal) =>
      new Promise((answer, fail) => {
        asked.push({ offset, signal, answer, fail });
      }),
    edit: () => Promise.reject(new Error('not used')),
    history: () => Promise.reject(new Error('not used')),
    links: () => Promise.reject(new Error('not used')),
  };
  const events = { changed: vi.fn(), started: vi.fn(), replaced: vi.fn() };
  const cache = new PageCache(source, query, events);
  const settle = async (at: number, version = 1): Promise<void> => {
    const request = asked[at];
    request?.answer(page(request.offset, PAGE_ROWS, version));
    await vi.advanceTimersByTimeAsync(0);
  };
  return { cache, asked, events, settle };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('page cache', () => {
  it('asks for the pages on screen, once each', async () => {
    const { cache, asked, settle } = setup();
    cache.need(0, 30, true);
    cache.need(0, 30, true);
    expect(asked.map((request) => request.offset)).toEqual([0]);
    await settle(0);
    expect(cache.total).toBe(TOTAL);
    expect(cache.row(30)?.key).toBe('k30');
    cache.need(0, 30, true);
    expect(asked).toHaveLength(1);
  });

  it('waits while the thumb is dragged and asks for the last place only', async () => {
    const { cache, asked, settle } = setup();
    cache.need(0, 30, true);
    await settle(0);
    for (let first = 1_000_000; first < 5_000_000; first += 100_000) cache.need(first, first + 30, false);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(asked.slice(1).map((request) => request.offset)).toEqual([4_900_000]);
  });

  it('gives up requests for what has left the screen', async () => {
    const { cache, asked, settle } = setup();
    cache.need(0, 30, true);
    await settle(0);
    cache.need(1000, 1030, true);
    cache.need(5000, 5030, true);
    expect(asked[1]?.signal.aborted).toBe(true);
    expect(asked[2]?.signal.aborted).toBe(false);
  });

  it('keeps a bounded number of pages and forgets the keys of the others', async () => {
    const { cache, asked, settle } = setup();
    let answered = 0;
    for (let at = 0; at < 60; at += 1) {
      cache.need(at * PAGE_ROWS, at * PAGE_ROWS + 30, true);
      while (answered < asked.length) {
        await settle(answered);
        answered += 1;
      }
    }
    expect(cache.row(0)).toBeUndefined();
    expect(cache.indexOf('k0')).toBe(-1);
    expect(cache.row(59 * PAGE_ROWS)).toBeDefined();
  });

  it('shows old rows until the refreshed ones arrive', async () => {
    const { cache, asked, settle } = setup();
    cache.need(0, 30, true);
    await settle(0);
    cache.refresh();
    expect(cache.row(3)?.cells).toEqual(['v3']);
    asked[1]?.answer({ ...page(0, PAGE_ROWS, 2), rows: [row(0, 'new')], total: 1 });
    await vi.advanceTimersByTimeAsync(0);
    expect(cache.row(0)?.cells).toEqual(['new']);
    expect(cache.row(3)).toBeUndefined();
    expect(cache.total).toBe(1);
  });

  it('ignores answers to an earlier query', async () => {
    const { cache, asked, settle } = setup();
    cache.need(0, 30, true);
    cache.setQuery({ ...query, states: ['mine'] });
    await settle(0);
    expect(cache.total).toBeNull();
    expect(asked[0]?.signal.aborted).toBe(true);
    await settle(1);
    expect(cache.total).toBe(TOTAL);
  });

  it('patches loaded rows in place and lets no older news win', async () => {
    const { cache, settle } = setup();
    cache.need(0, 30, true);
    await settle(0, 5);
    expect(cache.patch([row(3, 'eight'), row(999_999)], 8)).toHaveLength(1);
    expect(cache.row(3)?.cells).toEqual(['eight']);
    expect(cache.patch([row(3, 'seven')], 7)).toHaveLength(0);
    expect(cache.patch([row(4, 'four')], 4)).toHaveLength(0);
    expect(cache.row(4)?.cells).toEqual(['v4']);
  });

  it('keeps a patch that is newer than the page arriving after it', async () => {
    const { cache, settle } = setup();
    cache.need(0, 30, true);
    await settle(0, 5);
    cache.patch([row(3, 'nine')], 9);
    cache.refresh();
    await settle(1, 8);
    expect(cache.row(3)?.cells).toEqual(['nine']);
    cache.refresh();
    await settle(2, 9);
    expect(cache.row(3)?.cells).toEqual(['v3']);
  });

  it('tells of a failure, waits before it asks again, and recovers on refresh', async () => {
    const { cache, asked, settle, events } = setup();
    cache.need(0, 30, true);
    asked[0]?.fail(new Error('the server is away'));
    await vi.advanceTimersByTimeAsync(0);
    expect(cache.error).toBe('the server is away');
    expect(events.changed).toHaveBeenCalled();
    cache.need(0, 30, true);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2500);
    expect(asked).toHaveLength(2);
    asked[1]?.fail(new Error('still away'));
    await vi.advanceTimersByTimeAsync(0);
    cache.refresh();
    await settle(2);
    expect(cache.error).toBeNull();
  });
});
