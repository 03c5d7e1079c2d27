import { describe, expect, it } from 'vitest';
import { href, pageTitle, parsePath, safeNext } from '../src/lib/router';

describe('parsePath', () => {
  it.each([
    ['/', { name: 'projects' }],
    ['/projects', { name: 'projects' }],
    ['/signin', { name: 'signin' }],
    ['/status', { name: 'status' }],
    ['/projects/BIRDSTRIKES', { name: 'flow', project: 'BIRDSTRIKES' }],
    ['/projects/BIRDSTRIKES/flow', { name: 'flow', project: 'BIRDSTRIKES' }],
    ['/projects/BIRDSTRIKES/datasets/strikes', { name: 'dataset', project: 'BIRDSTRIKES', dataset: 'strikes' }],
    ['/projects/BIRDSTRIKES/webapps/fix/', { name: 'table', project: 'BIRDSTRIKES', webapp: 'fix' }],
    ['/projects/BIRDSTRIKES/webapps/fix/log', { name: 'log', project: 'BIRDSTRIKES', webapp: 'fix' }],
  ])('knows %s', (path, route) => expect(parsePath(path)).toEqual(route));

  it.each(['/nowhere', '/projects/A/datasets', '/projects/A/webapps/b/c', '/projects/A/other/b', '/projects/%E0%A4%A'])(
    'knows no page at %s',
    (path) => expect(parsePath(path)).toEqual({ name: 'not-found' }),
  );

  it('reads back every address it writes, whatever the names are', () => {
    for (const name of ['strikes', 'a b', 'ü/ö', '100%', '#?&=', '🐦']) {
      expect(parsePath(href.flow(name))).toEqual({ name: 'flow', project: name });
      expect(parsePath(href.dataset(name, name))).toEqual({ name: 'dataset', project: name, dataset: name });
      expect(parsePath(href.table(name, name))).toEqual({ name: 'table', project: name, webapp: name });
      expect(parsePath(href.log(name, name))).toEqual({ name: 'log', project: name, webapp: name });
    }
  });
});

describe('safeNext', () => {
  it('takes a page of this site, with its query', () => {
    expect(safeNext('/projects/A/webapps/b?sort=asc:x')).toBe('/projects/A/webapps/b?sort=asc:x');
  });

  it.each([
    null,
    '',
    'projects',
    'https://evil.example/',
    '//evil.example/',
    '/\\evil.example/',
    '/\t/evil.example/',
    'javascript:alert(1)',
    '/signin?next=/signin',
  ])('goes home instead of to %j', (next) => expect(safeNext(next)).toBe('/'));

  it('survives the way through the sign-in address', () => {
    const page = '/projects/A/webapps/b?contains:x=a%26b&show=mine';
    const signin = new URL(href.signin(page), 'http://localhost');
    expect(safeNext(signin.searchParams.get('next'))).toBe(page);
  });
});

it('puts the most particular part of a title first', () => {
  expect(pageTitle('Correct strikes', null, 'BIRDSTRIKES')).toBe('Correct strikes · BIRDSTRIKES · Stet');
  expect(pageTitle()).toBe('Stet');
});
