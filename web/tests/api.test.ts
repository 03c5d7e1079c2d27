import { afterEach, describe, expect, it, vi } from 'vitest';
import { api, ApiError, isAbort, messageOf, setUnauthorizedHandler } from '../src/lib/api';

function answer(status: number, body: string, type = 'application/json'): void {
  vi.stubGlobal(
    'fetch',
    vi.fn(() =>
      Promise.resolve(new Response(status === 204 ? null : body, { status, headers: { 'content-type': type } })),
    ),
  );
}

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw new Error('the call did not fail as it should');
  return error;
}

afterEach(() => {
  vi.unstubAllGlobals();
  setUnauthorizedHandler(() => undefined);
});

describe('a failed call', () => {
  it('shows the sentence of the problem document, and keeps its other members', async () => {
    answer(422, '{"title":"Refused","status":422,"detail":"“x” is no date.","column":"d"}', 'application/problem+json');
    const error = await failure(api.projects());
    expect(error.message).toBe('“x” is no date.');
    expect(error.status).toBe(422);
    expect(error.problem.column).toBe('d');
  });

  it('has plain words of its own for an answer that says nothing', async () => {
    answer(502, '<html>Bad gateway</html>', 'text/html');
    expect((await failure(api.projects())).message).toMatch(/cannot be reached/);
    answer(500, '{broken', 'application/problem+json');
    expect((await failure(api.projects())).message).toMatch(/Your data is safe/);
    answer(418, '{}');
    expect((await failure(api.projects())).message).toContain('418');
  });

  it('tells of a lost connection without a word of the browser', async () => {
    vi.stubGlobal(
      'fetch',
      vi.fn(() => Promise.reject(new TypeError('Failed to fetch'))),
    );
    const error = await failure(api.projects());
    expect(error.unreachable).toBe(true);
    expect(error.message).not.toContain('fetch');
  });

  it('tells of an answer that was cut short', async () => {
    answer(200, '{"projects":[');
    expect((await failure(api.projects())).message).toMatch(/cut short/);
  });

  it('is no failure when the caller lost interest', async () => {
    const abort = new DOMException('aborted', 'AbortError');
    vi.stubGlobal(
      'fetch',
      vi.fn(() => Promise.reject(abort)),
    );
    const reason: unknown = await api.projects().catch((error: unknown) => error);
    expect(isAbort(reason)).toBe(true);
  });

  it('ends the session on 401, but not when signing in with wrong words', async () => {
    const ended = vi.fn();
    setUnauthorizedHandler(ended);
    answer(401, '{"detail":"Login or password is wrong."}', 'application/problem+json');
    expect((await failure(api.signIn('a', 'b'))).message).toBe('Login or password is wrong.');
    await failure(api.session());
    expect(ended).not.toHaveBeenCalled();
    await failure(api.projects());
    expect(ended).toHaveBeenCalledOnce();
  });
});

describe('a call', () => {
  it('writes names into the address so that none can leave its place', async () => {
    answer(200, '{}');
    await api.dataset('A/../B', 'x?y#z');
    expect(vi.mocked(fetch).mock.calls[0]?.[0]).toBe('/api/v1/projects/A%2F..%2FB/datasets/x%3Fy%23z');
  });

  it('always says that a change is JSON, and sends the values as they are', async () => {
    answer(200, '{"version":1,"results":[],"rows":[],"deleted":[],"links":{}}');
    await api.edit('A', 'b', {
      batch_id: '1',
      source: 'grid',
      edits: [{ event_id: '2', action: 'update', key: '9007199254740993', column: 'c', value: null, seen: null }],
    });
    const init = vi.mocked(fetch).mock.calls[0]?.[1];
    expect(init?.method).toBe('POST');
    expect(new Headers(init?.headers).get('content-type')).toBe('application/json');
    expect(init?.body).toContain('"key":"9007199254740993"');
    expect(init?.body).toContain('"value":null');
  });

  it('takes an answer without content', async () => {
    answer(204, '');
    await expect(api.signOut()).resolves.toBeUndefined();
  });
});

it('has a sentence for any error', () => {
  expect(messageOf(new ApiError('Plain words.', 422))).toBe('Plain words.');
  expect(messageOf(new Error('x'))).toContain('x');
  expect(messageOf('odd')).toMatch(/Reload/);
});
