import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WAIT_SHOWN_MS, WaitWatch, waitPercent, waitWords, type WaitProgress } from '../src/lib/wait';

const sorting = (percent: number): WaitProgress => ({ step: 'sorting', rows: 10_000_000, percent });

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('WaitWatch', () => {
  it('asks nothing of a wait that is short', async () => {
    const [ask, tell] = [vi.fn(() => Promise.resolve(sorting(1))), vi.fn()];
    const watch = new WaitWatch(ask, tell);
    watch.begin();
    await vi.advanceTimersByTimeAsync(WAIT_SHOWN_MS - 1);
    watch.end();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ask).not.toHaveBeenCalled();
    expect(tell).not.toHaveBeenCalled();
  });

  it('tells how far a long one is again and again, never going back, until it ends', async () => {
    const told: number[] = [];
    const percents = [10, 40, 30, 90];
    const ask = vi.fn(() => Promise.resolve(sorting(percents.shift() ?? 95)));
    const watch = new WaitWatch(ask, (progress) => told.push(progress.percent));
    watch.begin();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(told.slice(0, 4)).toEqual([10, 40, 40, 90]);
    // More often would cost more than it tells.
    expect(ask.mock.calls.length).toBeLessThan(8);
    watch.end();
    const calls = ask.mock.calls.length;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ask).toHaveBeenCalledTimes(calls);
  });

  it('forgets the wait before', async () => {
    const told: number[] = [];
    const percents = [80, 5];
    const watch = new WaitWatch(
      () => Promise.resolve(sorting(percents.shift() ?? 5)),
      (progress) => told.push(progress.percent),
    );
    watch.begin();
    await vi.advanceTimersByTimeAsync(WAIT_SHOWN_MS);
    watch.end();
    watch.begin();
    await vi.advanceTimersByTimeAsync(WAIT_SHOWN_MS);
    expect(told).toEqual([80, 5]);
    watch.end();
  });

  it('has words also when nobody answers, and none after the end', async () => {
    const tell = vi.fn<(progress: WaitProgress) => void>();
    let answer: (progress: WaitProgress) => void = () => undefined;
    const ask = vi
      .fn<() => Promise<WaitProgress>>()
      .mockRejectedValueOnce(new Error('away'))
      .mockImplementation(() => new Promise((done) => (answer = done)));
    const watch = new WaitWatch(ask, tell);
    watch.begin();
    await vi.advanceTimersByTimeAsync(WAIT_SHOWN_MS);
    expect(tell).toHaveBeenCalledExactlyOnceWith({ step: 'none', rows: null, percent: 0 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ask).toHaveBeenCalledTimes(2);
    watch.end();
    answer(sorting(50));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(tell).toHaveBeenCalledTimes(1);
  });
});

describe('words of a wait', () => {
  it('say what is done to how many rows', () => {
    expect(waitWords(sorting(43))).toBe('Sorting 10,000,000 rows…');
    expect(waitWords({ step: 'filtering', rows: null, percent: 0 })).toBe('Filtering the rows…');
    expect(waitWords({ step: 'grouping', rows: 1, percent: 0 })).toBe('Grouping 1 row…');
    expect(waitWords({ step: 'queued', rows: null, percent: 0 })).toBe('Waiting for other work on this table…');
  });

  it('have a percentage where one is known', () => {
    expect(waitPercent(sorting(0))).toBe(0);
    expect(waitPercent({ step: 'queued', rows: null, percent: 12 })).toBeNull();
    expect(waitPercent({ step: 'none', rows: null, percent: 0 })).toBeNull();
  });
});
