import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { people, presenceSender, type Place } from '../src/lib/presence';

const at = (key: string): Place => ({ key, column: 'c', editing: false });

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('presenceSender', () => {
  it('tells at most once a second, and always the last place', async () => {
    const send = vi.fn();
    const sender = presenceSender(send);
    for (let row = 0; row < 50; row += 1) sender.moveTo(at(String(row)));
    expect(send).toHaveBeenCalledExactlyOnceWith(at('0'));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(send).toHaveBeenCalledTimes(2);
    expect(send).toHaveBeenLastCalledWith(at('49'));
    sender.stop();
  });

  it('repeats itself every 20 seconds, and not when nothing changed before', async () => {
    const send = vi.fn();
    const sender = presenceSender(send);
    sender.moveTo(at('1'));
    sender.moveTo(at('1'));
    await vi.advanceTimersByTimeAsync(19_000);
    expect(send).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(send).toHaveBeenCalledTimes(2);
    sender.stop();
  });

  it('tells its place again when asked to, unless it is nowhere', () => {
    const send = vi.fn();
    const sender = presenceSender(send);
    sender.again();
    expect(send).not.toHaveBeenCalled();
    sender.moveTo(at('1'));
    sender.again();
    expect(send).toHaveBeenCalledTimes(2);
    sender.stop();
  });

  it('is silent after it stopped', async () => {
    const send = vi.fn();
    const sender = presenceSender(send);
    sender.moveTo(at('1'));
    sender.moveTo(at('2'));
    sender.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(send).toHaveBeenCalledExactlyOnceWith(at('1'));
  });
});

it('shows a person with two windows once', () => {
  const place = { key: null, column: null, editing: false };
  const found = people([
    { ...place, user: 'grace', name: 'Grace Hopper', session: '1' },
    { ...place, user: 'ada', name: '', session: '2' },
    { ...place, user: 'grace', name: 'Grace Hopper', session: '3' },
  ]);
  expect(found.map((person) => [person.name, person.initials, person.places.length])).toEqual([
    ['ada', 'A', 1],
    ['Grace Hopper', 'GH', 2],
  ]);
});
