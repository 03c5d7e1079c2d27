import { describe, expect, it } from 'vitest';
import { decodeQuery, encodeQuery, isPlain, toggleState } from '../src/lib/query-codec';
import type { Query } from '../src/lib/types';

const columns = new Set(['cost', 'species', 'Cost Total $', 'a:b', 'sort', 'größe']);

const queries: [string, Query][] = [
  ['nothing', { sort: [], filters: [], states: [] }],
  [
    'sorting by several columns',
    {
      sort: [
        { column: 'Cost Total $', descending: true },
        { column: 'a:b', descending: false },
      ],
      filters: [],
      states: [],
    },
  ],
  [
    'every kind of filter',
    {
      sort: [],
      filters: [
        { column: 'species', op: 'contains', value: 'gull & co = 1?' },
        { column: 'species', op: 'not_contains', value: 'a..b' },
        { column: 'species', op: 'equals', value: '' },
        { column: 'species', op: 'not_equals', value: 'x' },
        { column: 'größe', op: 'starts_with', value: 'ü' },
        { column: 'sort', op: 'ends_with', value: '🐦' },
        { column: 'cost', op: 'between', from: '-1.5', to: '100' },
        { column: 'cost', op: 'between', to: '7' },
        { column: 'cost', op: 'between', from: '2022-12-21' },
        { column: 'a:b', op: 'blank' },
        { column: 'a:b', op: 'not_blank' },
        { column: 'species', op: 'in', values: ['Small', '', 'a,b'] },
      ],
      states: ['edited', 'mine'],
    },
  ],
];

describe('the view in the address', () => {
  it.each(queries)('comes back as it was: %s', (_, query) => {
    const params = new URLSearchParams(encodeQuery(query).toString());
    expect(decodeQuery(params, columns)).toEqual({ query, leftOut: [] });
  });

  it('can be read by people', () => {
    const params = encodeQuery({
      sort: [{ column: 'cost', descending: true }],
      filters: [{ column: 'species', op: 'contains', value: 'gull' }],
      states: ['stale'],
    });
    expect(decodeURIComponent(params.toString())).toBe('sort=desc:cost&contains:species=gull&show=stale');
  });

  it('keeps what belongs to others and replaces what was there', () => {
    const before = new URLSearchParams('node=x&sort=asc:cost&contains:species=a&show=mine');
    const query: Query = { sort: [], filters: [{ column: 'cost', op: 'blank' }], states: [] };
    expect(encodeQuery(query, before).toString()).toBe('node=x&blank%3Acost=');
  });

  it.each([
    ['sort=asc:gone', 'gone'],
    ['sort=upwards:cost', 'upwards:cost'],
    ['contains:gone=1', 'gone'],
    ['between:cost=5', '5'],
    ['between:cost=..', '..'],
    ['contains:species=', 'species'],
    ['show=everything', 'everything'],
  ])('leaves out and names what does not fit: %s', (text, named) => {
    const { query, leftOut } = decodeQuery(new URLSearchParams(text), columns);
    expect(isPlain(query)).toBe(true);
    expect(leftOut).toHaveLength(1);
    expect(leftOut[0]).toContain(named);
  });

  it('passes over parameters of other meaning', () => {
    expect(decodeQuery(new URLSearchParams('utm=1&execute:cost=rm&:x=1&node=a'), columns)).toEqual({
      query: { sort: [], filters: [], states: [] },
      leftOut: [],
    });
  });

  it('limits what an address can ask for', () => {
    const params = new URLSearchParams();
    for (let i = 0; i < 5_000; i += 1) {
      params.append('contains:species', `x${i}`);
      params.append('in:cost', `${i}`);
    }
    const { query } = decodeQuery(params, columns);
    expect(query.filters.length).toBeLessThanOrEqual(33);
    expect(query.filters.find((filter) => filter.op === 'in')?.values?.length).toBeLessThanOrEqual(1_000);
  });
});

it('switches a row state on and off', () => {
  expect(toggleState(['mine'], 'edited')).toEqual(['mine', 'edited']);
  expect(toggleState(['mine', 'edited'], 'mine')).toEqual(['edited']);
});
