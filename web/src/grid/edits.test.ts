import { describe, expect, it } from 'vitest';
import { CHUNK_EDITS_MAX, chunkEnd } from './edits';

/** `counts` cells of each row, one row after the other. */
function cells(...counts: number[]): { key: string }[] {
  return counts.flatMap((count, row) => Array.from({ length: count }, () => ({ key: String(row) })));
}

describe('chunkEnd', () => {
  it('takes all that goes into one request', () => {
    expect(chunkEnd(cells(3, 3), 0)).toBe(6);
    expect(chunkEnd(cells(CHUNK_EDITS_MAX), 0)).toBe(CHUNK_EDITS_MAX);
  });

  it('ends between rows, so that a tick travels with the values it approves', () => {
    expect(chunkEnd(cells(CHUNK_EDITS_MAX - 1, 3), 0)).toBe(CHUNK_EDITS_MAX - 1);
    expect(chunkEnd(cells(CHUNK_EDITS_MAX, 3), 0)).toBe(CHUNK_EDITS_MAX);
    expect(chunkEnd(cells(2, CHUNK_EDITS_MAX - 1, 3), 2)).toBe(CHUNK_EDITS_MAX + 1);
  });

  it('parts a row that is longer than a request', () => {
    expect(chunkEnd(cells(CHUNK_EDITS_MAX + 5), 0)).toBe(CHUNK_EDITS_MAX);
  });
});
