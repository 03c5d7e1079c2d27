import { describe, expect, it } from 'vitest';
import { filterOf, localOf, momentOf, says, withFilter } from '../src/lib/log-filter';

describe('the filter of the log in the address', () => {
  it('reads back what it writes, whatever the values are', () => {
    let search = new URLSearchParams();
    for (const value of ['BARKSDALE AIR FORCE BASE ARPT', '["a","b"]', '100%', '🐦', ' ']) {
      search = withFilter(search, 'key', value);
      expect(filterOf(new URLSearchParams(search.toString()))).toEqual({ key: value });
    }
  });

  it('knows the empty key from no key', () => {
    expect(filterOf(withFilter(new URLSearchParams(), 'key', ''))).toEqual({ key: '' });
    expect(filterOf(withFilter(new URLSearchParams('key='), 'key', null))).toEqual({});
    expect(filterOf(withFilter(new URLSearchParams('user=rob'), 'user', ''))).toEqual({});
  });

  it('takes only what it knows', () => {
    expect(filterOf(new URLSearchParams('user=rob&evil=1&action='))).toEqual({ user: 'rob' });
    expect(says({})).toBe(false);
    expect(says({ key: '' })).toBe(true);
  });

  it('keeps a moment through the field', () => {
    const moment = '2026-11-22T10:20:30.000Z';
    expect(momentOf(localOf(moment))).toBe(moment);
    expect(momentOf('')).toBeNull();
    expect(momentOf('2026-13-45T99:99')).toBeNull();
    expect(localOf('no moment')).toBe('');
  });
});
