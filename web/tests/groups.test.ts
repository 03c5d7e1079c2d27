import { describe, expect, it } from 'vitest';
import { chosenGroup, withGroup, withoutGroup } from '../src/lib/groups';
import { decodeQuery, encodeQuery } from '../src/lib/query-codec';
import type { Query } from '../src/lib/types';

const query: Query = {
  sort: [{ column: 'cost', descending: true }],
  filters: [
    { column: 'species', op: 'contains', value: 'gull' },
    { column: 'cost', op: 'not_blank' },
  ],
  states: ['edited'],
};

describe('groups', () => {
  it('replace the filters of their columns and leave the others', () => {
    const grouped = withGroup(query, ['species', 'size'], ['Herring gull', null]);
    expect(grouped.filters).toEqual([
      { column: 'cost', op: 'not_blank' },
      { column: 'species', op: 'equals', value: 'Herring gull' },
      { column: 'size', op: 'blank' },
    ]);
    expect(grouped.sort).toEqual(query.sort);
    expect(chosenGroup(grouped, ['species', 'size'])).toEqual(['Herring gull', null]);
    expect(withoutGroup(grouped, ['species', 'size']).filters).toEqual([{ column: 'cost', op: 'not_blank' }]);
  });

  it('tell the empty text from the empty cell, also through the address', () => {
    for (const value of ['', null]) {
      const { query: back } = decodeQuery(
        encodeQuery(withGroup(query, ['size'], [value])),
        new Set(['size', 'species', 'cost']),
      );
      expect(chosenGroup(back, ['size'])).toEqual([value]);
    }
  });

  it('are not chosen by filters of another kind', () => {
    expect(chosenGroup(query, ['species'])).toBeNull();
    expect(chosenGroup(query, ['size'])).toBeNull();
  });
});
