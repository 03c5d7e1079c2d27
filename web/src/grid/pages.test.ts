import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PAGE_ROWS, PageCache } from './pages';
import type { Page, PageRequest, Query, Row, RowSource } from './types';

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
  const asked: {
    offset: number;
    limit: number;
    how: PageRequest | undefined;
    signal: AbortSignal;
    answer: (page: Page) => void;
    fail: (error: Error) => void;
  }[] = [];
  const cancel = vi.fn(() => Promise.resolve());
  const source: RowSource = {
    page: (_query, offset, limit, signal, how) =>
      new Promise((answer, fail) => {
        asked.push({ offset, limit, how, signal, answer, fail });
      }),
    cancel,
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
  /** Answers while rows are counted: of a whole page, more rows than these may follow. */
  const settlePending = async (at: number, known: number): Promise<void> => {
    const request = asked[at];
    request?.answer({ ...page(request.offset, PAGE_ROWS), total: known, total_pending: true });
    await vi.advanceTimersByTimeAsync(0);
  };
  return { cache, asked, cancel, events, settle, settlePending };
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

describe('waiting for rows', () => {
  it('is for the rows on screen, under one name for each query', async () => {
    const { cache, asked, cancel, settle } = setup();
    cache.need(0, 30, true);
    expect(cache.waiting).toBe(true);
    await settle(0);
    expect(cache.waiting).toBe(false);
    // The next page is fetched before anybody looks at it.
    cache.need(120, 150, true);
    expect(asked.map((request) => request.offset)).toEqual([0, 200]);
    expect(cache.waiting).toBe(false);
    cache.need(190, 220, true);
    expect(cache.waiting).toBe(true);
    expect(asked[1]?.how?.wait).toBe(asked[0]?.how?.wait);

    const given = cache.given();
    cache.setQuery({ ...query, states: ['mine'] });
    expect(cache.waiting).toBe(true);
    expect(asked[2]?.how?.wait).not.toBe(asked[0]?.how?.wait);
    given();
    expect(cancel).toHaveBeenCalledExactlyOnceWith(asked[0]?.how?.wait);
  });
});

describe('a total that comes later', () => {
  it('is not asked for again once it is known', async () => {
    const { cache, asked, settle } = setup();
    cache.need(0, 30, true);
    expect(asked[0]?.how?.count).toBe('later');
    await settle(0);
    expect(cache.counting).toBe(false);
    expect(asked).toHaveLength(1);
    cache.need(5000, 5030, true);
    cache.refresh();
    expect(asked.slice(1).map((request) => request.how?.count)).toEqual([undefined, undefined]);
    cache.setQuery({ ...query, states: ['mine'] });
    expect(asked.at(-1)?.how?.count).toBe('later');
  });

  it('shows the rows at once and is asked for at once', async () => {
    const { cache, asked, events, settlePending } = setup();
    cache.need(0, 30, true);
    await settlePending(0, PAGE_ROWS);
    expect([cache.total, cache.counting, cache.row(3)?.key]).toEqual([PAGE_ROWS, true, 'k3']);
    expect(asked[1]).toMatchObject({ offset: 0, limit: 0, how: { count: 'exact', wait: asked[0]?.how?.wait } });
    const counted = vi.fn();
    void cache.whenCounted().then(counted);
    await vi.advanceTimersByTimeAsync(100);
    expect(counted).not.toHaveBeenCalled();
    const changes = events.changed.mock.calls.length;
    asked[1]?.answer({ ...page(0, 0), total: 123_456 });
    await vi.advanceTimersByTimeAsync(0);
    expect([cache.total, cache.counting]).toEqual([123_456, false]);
    expect(counted).toHaveBeenCalledExactlyOnceWith(true);
    expect(events.changed.mock.calls.length).toBe(changes + 1);
    expect(events.started).toHaveBeenCalledTimes(1);
  });

  it('grows with the rows that are reached meanwhile, and does not shrink', async () => {
    const { cache, asked, settle, settlePending } = setup();
    cache.need(0, 30, true);
    await settlePending(0, PAGE_ROWS);
    cache.need(150, 180, true);
    expect(asked[2]).toMatchObject({ offset: PAGE_ROWS, how: { count: 'later' } });
    await settlePending(2, PAGE_ROWS);
    expect([cache.total, cache.counting]).toEqual([2 * PAGE_ROWS, true]);
    // Any answer that knows it settles it, and the request for it ends.
    cache.need(350, 380, true);
    await settle(3);
    expect([cache.total, cache.counting]).toEqual([TOTAL, false]);
    expect(asked[1]?.signal.aborted).toBe(true);
    // What was under way meanwhile knows less.
    cache.refresh();
    await settlePending(4, PAGE_ROWS);
    expect([cache.total, cache.counting]).toEqual([TOTAL, false]);
  });

  it('fetches the rest of a page that ended where the known rows did', async () => {
    const { cache, asked, events, settle } = setup();
    cache.need(0, 30, true);
    asked[0]?.answer({ ...page(0, 50), total: 50, total_pending: true });
    await vi.advanceTimersByTimeAsync(0);
    expect([cache.total, cache.row(49)?.key, cache.row(50)]).toEqual([50, 'k49', undefined]);
    cache.need(20, 49, true);
    // Asking again would give no more before all are counted.
    expect(asked).toHaveLength(2);
    asked[1]?.answer({ ...page(0, 0), total: 5_000 });
    await vi.advanceTimersByTimeAsync(0);
    expect(events.changed).toHaveBeenCalled();
    cache.need(20, 60, true);
    expect(asked[2]).toMatchObject({ offset: 0, limit: PAGE_ROWS });
    expect(cache.row(49)?.key).toBe('k49');
    await settle(2);
    expect(cache.row(60)?.key).toBe('k60');
    cache.need(20, 60, true);
    expect(asked).toHaveLength(3);
  });

  it('is given up with its query', async () => {
    const { cache, asked, settlePending } = setup();
    cache.need(0, 30, true);
    await settlePending(0, PAGE_ROWS);
    const counted = vi.fn();
    void cache.whenCounted().then(counted);
    cache.setQuery({ ...query, states: ['mine'] });
    expect([asked[1]?.signal.aborted, cache.counting]).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(0);
    expect(counted).toHaveBeenCalledExactlyOnceWith(false);
    asked[1]?.answer({ ...page(0, 0), total: 5 });
    await vi.advanceTimersByTimeAsync(0);
    expect(cache.total).toBe(PAGE_ROWS);
    await settlePending(2, 50);
    expect([cache.total, cache.counting]).toEqual([PAGE_ROWS, true]);
    cache.close();
    expect(asked[3]?.signal.aborted).toBe(true);
  });

  it('is asked for again after a failure, which hides no rows', async () => {
    const { cache, asked, settlePending } = setup();
    cache.need(0, 30, true);
    await settlePending(0, PAGE_ROWS);
    asked[1]?.fail(new Error('the server is away'));
    await vi.advanceTimersByTimeAsync(0);
    expect([cache.error, cache.counting, cache.row(3)?.key]).toEqual([null, true, 'k3']);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(asked[2]).toMatchObject({ limit: 0, how: { count: 'exact' } });
    asked[2]?.answer({ ...page(0, 0), total: 7 });
    await vi.advanceTimersByTimeAsync(0);
    expect([cache.total, cache.counting]).toEqual([7, false]);
  });
});
