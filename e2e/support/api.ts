import { expect, type APIRequestContext } from '@playwright/test';
import type { WebappName } from './table';

export interface HistoryEvent {
  id: number;
  user: string;
  date: string;
  action: string;
  column: string | null;
  value: string | null;
  previous: string | null;
  source: string;
  reason: string | null;
}

interface Answer {
  columns: { name: string }[];
}

/** The few calls that tests use to check what the page says, and to act as somebody else. */
export class Api {
  constructor(private readonly request: APIRequestContext) {}

  async signIn(login: string, password: string): Promise<void> {
    const answer = await this.request.post('/api/v1/session', { data: { login, password } });
    expect(answer.status()).toBe(200);
  }

  /** What a webapp is at present: its files are looked at about once a second. */
  async about(webapp: WebappName): Promise<Record<string, unknown>> {
    return (await (await this.request.get(base(webapp))).json()) as Record<string, unknown>;
  }

  /** Makes a bundle of the demo's project: its digest and its archive. */
  async bundle(notes: string): Promise<{ digest: string; archive: Buffer }> {
    const made = await this.request.post('/api/v1/projects/BIRDSTRIKES/bundles', { data: { notes } });
    expect(made.status()).toBe(201);
    const { digest } = (await made.json()) as { digest: string };
    const file = await this.request.get(`/api/v1/bundles/${digest}/file`);
    return { digest, archive: await file.body() };
  }

  async history(
    webapp: WebappName,
    key: string,
    column?: string,
  ): Promise<{ original: string | null; events: HistoryEvent[] }> {
    const params: Record<string, string> = column === undefined ? { key } : { key, column };
    const answer = await this.request.get(`${base(webapp)}/history`, { params });
    expect(answer.status()).toBe(200);
    return (await answer.json()) as { original: string | null; events: HistoryEvent[] };
  }

  /** The value that stands in a cell, exactly as the server holds it. */
  async value(webapp: WebappName, key: string, column: string): Promise<string | null> {
    const about = (await (await this.request.get(base(webapp))).json()) as Answer & { primary_keys: string[] };
    const answer = await this.request.post(`${base(webapp)}/rows/query`, {
      data: {
        offset: 0,
        limit: 1,
        sort: [],
        states: [],
        filters: [{ column: about.primary_keys[0], op: 'equals', value: key }],
      },
    });
    expect(answer.status()).toBe(200);
    const { rows } = (await answer.json()) as { rows: { key: string; cells: (string | null)[] }[] };
    expect(rows.map((row) => row.key)).toEqual([key]);
    return rows[0]?.cells[about.columns.findIndex(({ name }) => name === column)] ?? null;
  }

  /** Edits a cell as a script would that has seen `seen`. */
  async edit(
    webapp: WebappName,
    key: string,
    column: string,
    value: string | null,
    seen: number | null = null,
  ): Promise<void> {
    const answer = await this.request.post(`${base(webapp)}/edits`, {
      data: { source: 'api', edits: [{ action: 'update', key, column, value, seen }] },
    });
    expect(answer.status()).toBe(200);
    const { results } = (await answer.json()) as { results: { status: string; message?: string }[] };
    expect(results[0]?.status, results[0]?.message).toBe('saved');
  }
}

function base(webapp: WebappName): string {
  return `/api/v1/projects/BIRDSTRIKES/webapps/${webapp}`;
}
