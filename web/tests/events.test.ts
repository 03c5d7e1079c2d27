import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backoffMs, openStream, type StreamState } from '../src/lib/events';

/** An EventSource whose network is the test. */
class FakeSource extends EventTarget {
  static made: FakeSource[] = [];
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;

  constructor(readonly url: string) {
    super();
    FakeSource.made.push(this);
  }

  send(name: string, data: string): void {
    this.dispatchEvent(new MessageEvent(name, { data }));
  }

  close(): void {
    this.closed = true;
  }
}

const last = (): FakeSource => {
  const source = FakeSource.made.at(-1);
  if (!source) throw new Error('no stream was opened');
  return source;
};

beforeEach(() => {
  vi.useFakeTimers();
  FakeSource.made = [];
  vi.stubGlobal('EventSource', FakeSource);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('openStream', () => {
  it('hands over messages by their name, parsed', () => {
    const edit = vi.fn();
    const stream = openStream('/events', { on: { edit } });
    last().send('edit', '{"version":7}');
    expect(edit).toHaveBeenCalledWith({ version: 7 });
    stream.close();
    expect(last().closed).toBe(true);
  });

  it('says that it reconnects, waits longer each time, and says when it is back', async () => {
    const states: StreamState[] = [];
    const stream = openStream('/events', { on: {}, onState: (state) => states.push(state) });
    last().onopen?.();
    last().onerror?.();
    expect(states).toEqual(['connecting', 'open', 'reconnecting']);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeSource.made).toHaveLength(2);
    last().onerror?.();
    await vi.advanceTimersByTimeAsync(900);
    expect(FakeSource.made).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(FakeSource.made).toHaveLength(3);
    last().onopen?.();
    expect(states.at(-1)).toBe('open');
    stream.close();
  });

  it('stops for good when the session has ended', async () => {
    openStream('/events', { on: {}, mayReconnect: () => Promise.resolve(false) });
    last().onerror?.();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(FakeSource.made).toHaveLength(1);
  });

  it('goes on trying while the server is away', async () => {
    const mayReconnect = vi
      .fn<() => Promise<boolean>>()
      .mockRejectedValueOnce(new Error('away'))
      .mockResolvedValue(true);
    const stream = openStream('/events', { on: {}, mayReconnect });
    last().onerror?.();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSource.made).toHaveLength(2);
    stream.close();
  });

  it('starts again after a message that was cut short', async () => {
    const edit = vi.fn();
    const stream = openStream('/events', { on: { edit } });
    last().send('edit', '{"version":');
    expect(edit).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeSource.made).toHaveLength(2);
    stream.close();
  });

  it('opens nothing more once it is closed', async () => {
    const stream = openStream('/events', { on: {} });
    last().onerror?.();
    stream.close();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(FakeSource.made).toHaveLength(1);
  });
});

it('waits between half and all of a time that doubles up to half a minute', () => {
  expect(backoffMs(0, 0)).toBe(500);
  expect(backoffMs(0, 1)).toBe(1_000);
  expect(backoffMs(3, 1)).toBe(8_000);
  expect(backoffMs(50, 1)).toBe(30_000);
});
