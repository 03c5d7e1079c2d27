import { expect, it } from 'vitest';
import { fractionDone } from '../src/lib/builds.svelte';
import { ago, browserName, bytes, counted, duration, initials, keyText, sentenceParts } from '../src/lib/format';
import type { Job } from '../src/lib/types';

it('counts in the plural only where it is one', () => {
  expect(counted(1, 'row')).toBe('1 row');
  expect(counted(10_000, 'row')).toBe('10,000 rows');
  expect(counted(2, 'dataset needs', 'datasets need')).toBe('2 datasets need');
});

it('names browsers as people do', () => {
  const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';
  expect(browserName(chrome)).toBe('Chrome on Linux');
  expect(browserName(chrome.replace('X11; Linux x86_64', 'Windows NT 10.0; Win64; x64') + ' Edg/140.0')).toBe(
    'Edge on Windows',
  );
  const iPhone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile/15E Safari/604.1';
  expect(browserName(iPhone)).toBe('Safari on iOS');
  expect(browserName('curl/8.5.0')).toBe('curl/8.5.0');
  expect(browserName('')).toBe('not told');
});

it('gives sizes in the unit that reads best', () => {
  expect(bytes(812)).toBe('812 bytes');
  expect(bytes(1_400_000)).toBe('1.4 MB');
  expect(bytes(999_999)).toBe('1.0 MB');
  expect(bytes(250_000_000_000)).toBe('250 GB');
});

it('gives durations in the unit that reads best', () => {
  expect([412, 1_240, 59_700, 200_000].map(duration)).toEqual(['412 ms', '1.2 s', '1 min 0 s', '3 min 20 s']);
});

it('tells how long ago something was, and leaves alone what is no time', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  expect(ago('2026-11-22T11:59:40Z', now)).toBe('just now');
  expect(ago('2026-11-22T11:55:00Z', now)).toBe('5 minutes ago');
  expect(ago('2026-11-21T12:00:00Z', now)).toBe('yesterday');
  expect(ago('never', now)).toBe('never');
});

it('shows a key of several columns as its parts, and any other as it is', () => {
  expect(keyText('["a","2022-12-21"]')).toBe('a · 2022-12-21');
  expect(keyText('[sic]')).toBe('[sic]');
  expect(keyText('["a"]')).toBe('["a"]');
  expect(keyText('9007199254740993')).toBe('9007199254740993');
});

it('finds initials in names of any kind', () => {
  expect(['Ada Lovelace', 'grace.hopper', 'ada', '', '😀 x'].map(initials)).toEqual(['AL', 'GH', 'A', '?', '😀X']);
});

it('counts the rows of a build only while a step is under way', () => {
  const job: Job = {
    id: '1',
    project: 'A',
    dataset: 'b',
    mode: 'required',
    state: 'running',
    started_by: 'ada',
    started_at: '',
    finished_at: null,
    error: null,
    progress: { step: 1, steps: 2, dataset: 'a', rows_done: 50, rows_total: 100 },
    steps: [
      { dataset: 'a', recipe: 'r', state: 'running', report: null },
      { dataset: 'b', recipe: 's', state: 'waiting', report: null },
    ],
  };
  expect(fractionDone(job)).toBe(0.25);
  expect(fractionDone({ ...job, steps: job.steps.map((step) => ({ ...step, state: 'waiting' })) })).toBe(0);
  expect(fractionDone({ ...job, state: 'queued' })).toBeNull();
  expect(fractionDone({ ...job, state: 'done' })).toBe(1);
});

it('sets apart what a sentence has between backticks, and leaves a lone backtick alone', () => {
  expect(sentenceParts('`strikes` has changed')).toEqual([
    { text: 'strikes', code: true },
    { text: ' has changed', code: false },
  ]);
  expect(sentenceParts('a ` b')).toEqual([{ text: 'a ` b', code: false }]);
  expect(sentenceParts('<b>')).toEqual([{ text: '<b>', code: false }]);
});

it('takes initials from words, not from punctuation', () => {
  expect(['Grace Hopper', 'Dana (designer)', 'ada', '', '(—)'].map(initials)).toEqual(['GH', 'DD', 'A', '?', '?']);
});
