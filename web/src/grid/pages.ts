/** Pages of rows: asked for when they come near the screen, kept while they are useful, never more than a few. */

import type { WaitProgress } from '../lib/wait';
import { uuid } from './dom';
import type { CellEdit, LinkLabel, Links, Page, Query, Row, RowSource } from './types';

export const PAGE_ROWS = 200;
const PAGES_MAX = 24;
const REQUESTS_MAX = 4;
const COALESCE_MS = 90;
const RETRY_MS = 1000;
const RETRY_MS_MAX = 30_000;
const LINKS_MAX = 20_000;

interface LoadedPage {
  rows: Row[];
  version: number;
  /** Shown until its successor arrives. */
  stale: boolean;
  /** More rows may belong to it: it came before all of them were counted. */
  partial: boolean;
}

export interface PageEvents {
  /** Rows or their number changed. */
  changed(): void;
  /** The first page of a query has arrived. */
  started(page: Page): void;
  /** The original dataset behind the pages was replaced. */
  replaced(): void;
}

export class PageCache {
  /** Rows that match the query; null before the first answer. While they are counted, those that are known so far. */
  total: number | null = null;
  /** Whether there may be more than `total`. */
  counting = false;
  error: string | null = null;
  /** Whether the present query has had an answer. */
  answered = false;
  readonly links = new Map<string, Map<string, LinkLabel>>();
  private pages = new Map<number, LoadedPage>();
  private requests = new Map<number, AbortController>();
  private indexOfKey = new Map<string, number>();
  /** Version of rows that were patched after their page was loaded. */
  private patched = new Map<string, { version: number; row: Row }>();
  private generation = 0;
  private answeredGeneration = -1;
  private snapshot: string | null = null;
  private first = 0;
  private last = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;
  /** Requests that failed in a row; the next one waits longer each time. */
  private failures = 0;
  private blocked: ReturnType<typeof setTimeout> | undefined;
  private readonly source: RowSource;
  private readonly events: PageEvents;
  private query: Query;
  /** What the server calls the wait for rows of the present query. */
  private wait = uuid();
  /** Whether the number of rows of the present query was known at some time. */
  private counted = false;
  private counter: AbortController | null = null;
  private countTimer: ReturnType<typeof setTimeout> | undefined;
  private countFailures = 0;
  private settled: ((isCounted: boolean) => void)[] = [];

  constructor(source: RowSource, query: Query, events: PageEvents) {
    this.source = source;
    this.query = query;
    this.events = events;
  }

  get loading(): boolean {
    return this.requests.size > 0 || this.timer !== undefined;
  }

  /** Whether rows on screen are missing or of another query, and asked for. */
  get waiting(): boolean {
    const { from, to } = this.wanted();
    for (let number = from; number <= to; number += 1) {
      if (this.requests.has(number) && !this.isFresh(number)) return true;
    }
    return false;
  }

  /** How far the rows are that are waited for. */
  async progress(signal: AbortSignal): Promise<WaitProgress> {
    const { source, wait } = this;
    return (await source.progress?.(wait, signal)) ?? { step: 'none', rows: null, percent: 0 };
  }

  /** Gives what tells the server that the rows of the present query are wanted no more, for when another one is asked. */
  given(): () => void {
    const { source, wait } = this;
    // Without an answer the server still gives up what nobody has waited for in a while.
    return () => void source.cancel?.(wait).catch(() => undefined);
  }

  /** Waits until all rows of the present query are counted. False when another query was asked instead. */
  whenCounted(): Promise<boolean> {
    return this.counting ? new Promise((done) => this.settled.push(done)) : Promise.resolve(true);
  }

  row(index: number): Row | undefined {
    const page = this.pages.get(Math.floor(index / PAGE_ROWS));
    return page?.rows[index % PAGE_ROWS];
  }

  /** Row number of a loaded key, -1 when it is not loaded. */
  indexOf(key: string): number {
    return this.indexOfKey.get(key) ?? -1;
  }

  byKey(key: string): Row | undefined {
    const index = this.indexOfKey.get(key);
    return index === undefined ? undefined : this.row(index);
  }

  label(column: string, value: string | null): LinkLabel | undefined {
    return value === null ? undefined : this.links.get(column)?.get(value);
  }

  /** Says which rows are on screen. `settled` is false while the thumb is dragged: requests then wait for a
   *  quiet moment, as most of what passes by will never be looked at. */
  need(first: number, last: number, settled: boolean): void {
    this.first = Math.max(0, first);
    this.last = Math.max(this.first, last);
    if (settled && this.timer === undefined) this.request();
    else this.later();
  }

  /** Another query: what is loaded stays on screen until the first answer to it. */
  setQuery(query: Query): void {
    this.query = query;
    this.wait = uuid();
    this.answered = false;
    this.counted = false;
    this.stopCounting(false);
    this.first = 0;
    this.last = PAGE_ROWS - 1;
    this.refresh();
  }

  refresh(): void {
    this.generation += 1;
    this.unblock();
    this.dropCounter();
    for (const request of this.requests.values()) request.abort();
    this.requests.clear();
    for (const page of this.pages.values()) page.stale = true;
    this.request();
  }

  /** Puts new states of rows into the loaded pages and returns those whose content changed, with what they were before. */
  patch(rows: Row[], version: number): { before: Row; after: Row; index: number }[] {
    const changes: { before: Row; after: Row; index: number }[] = [];
    for (const row of rows) {
      const index = this.indexOfKey.get(row.key);
      if (index === undefined) continue;
      const page = this.pages.get(Math.floor(index / PAGE_ROWS));
      const known = this.patched.get(row.key)?.version ?? page?.version ?? 0;
      // News can be overtaken by an answer that already holds it.
      if (known > version) continue;
      const before = page?.rows[index % PAGE_ROWS];
      if (!page || !before) continue;
      page.rows[index % PAGE_ROWS] = row;
      this.patched.set(row.key, { version, row });
      changes.push({ before, after: row, index });
    }
    return changes;
  }

  addLinks(links: Links): void {
    for (const [column, labels] of Object.entries(links)) {
      let known = this.links.get(column);
      if (!known) this.links.set(column, (known = new Map<string, LinkLabel>()));
      for (const [value, label] of Object.entries(labels)) known.set(value, label);
      for (const value of known.keys()) {
        if (known.size <= LINKS_MAX) break;
        known.delete(value);
      }
    }
  }

  /** Rows of a range, loaded or not, beside the cache: for copying and pasting more than the screen. */
  async rows(first: number, last: number, signal: AbortSignal, progress?: (done: number) => void): Promise<Row[]> {
    const rows: Row[] = [];
    let at = first;
    while (at <= last) {
      const loaded = this.row(at);
      if (loaded) {
        rows.push(loaded);
        at += 1;
        continue;
      }
      const limit = Math.min(1000, last - at + 1);
      const page = await this.source.page(this.query, at, limit, signal);
      this.addLinks(page.links);
      rows.push(...page.rows);
      if (page.rows.length < limit) break;
      at += page.rows.length;
      progress?.(rows.length);
    }
    return rows;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.unblock();
    this.stopCounting(false);
    for (const request of this.requests.values()) request.abort();
  }

  private unblock(): void {
    clearTimeout(this.blocked);
    this.blocked = undefined;
  }

  private later(): void {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.request();
    }, COALESCE_MS);
  }

  private request(): void {
    if (this.closed || this.blocked !== undefined) return;
    const { from, to } = this.wanted();
    for (const [number, request] of this.requests) {
      if (number >= from - 1 && number <= to + 1) continue;
      request.abort();
      this.requests.delete(number);
    }
    const wanted: number[] = [];
    for (let number = from; number <= to; number += 1) wanted.push(number);
    // The neighbour that scrolling will reach next, once half of this page is behind.
    if (this.total !== null && wanted.every((number) => this.isFresh(number))) {
      if (this.last % PAGE_ROWS > PAGE_ROWS / 2 && (to + 1) * PAGE_ROWS < this.total) wanted.push(to + 1);
      if (this.first % PAGE_ROWS < PAGE_ROWS / 2 && from > 0) wanted.push(from - 1);
      // Where the known rows end, more may follow before all are counted.
      if (this.counting && this.last >= this.total - PAGE_ROWS / 2 && this.total % PAGE_ROWS === 0) wanted.push(this.total / PAGE_ROWS);
    }
    for (const number of wanted) {
      this.touch(number);
      if (this.isFresh(number) || this.requests.has(number) || this.requests.size >= REQUESTS_MAX) continue;
      void this.load(number);
    }
  }

  /** The pages on screen. */
  private wanted(): { from: number; to: number } {
    const lastRow = this.total === null ? this.last : Math.max(0, Math.min(this.last, this.total - 1));
    return { from: Math.floor(Math.min(this.first, lastRow) / PAGE_ROWS), to: Math.floor(lastRow / PAGE_ROWS) };
  }

  private isFresh(number: number): boolean {
    const page = this.pages.get(number);
    return page !== undefined && !page.stale;
  }

  /** Moves a page to the young end of the map, whose order is the order of use. */
  private touch(number: number): void {
    const page = this.pages.get(number);
    if (!page) return;
    this.pages.delete(number);
    this.pages.set(number, page);
  }

  private async load(number: number): Promise<void> {
    const generation = this.generation;
    const controller = new AbortController();
    this.requests.set(number, controller);
    try {
      const page = await this.source.page(this.query, number * PAGE_ROWS, PAGE_ROWS, controller.signal, {
        wait: this.wait,
        ...(this.counted ? {} : { count: 'later' as const }),
      });
      if (generation !== this.generation || controller.signal.aborted) return;
      this.requests.delete(number);
      this.error = null;
      this.failures = 0;
      this.store(number, page, generation);
    } catch (error) {
      if (generation !== this.generation || controller.signal.aborted || this.closed) return;
      this.requests.delete(number);
      this.error = error instanceof Error ? error.message : String(error);
      this.failures += 1;
      this.blocked ??= setTimeout(
        () => {
          this.blocked = undefined;
          this.request();
        },
        Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.failures),
      );
      this.events.changed();
    }
  }

  private store(number: number, page: Page, generation: number): void {
    const begins = this.answeredGeneration !== generation;
    this.answeredGeneration = generation;
    this.answered = true;
    this.addLinks(page.links);
    if (this.snapshot !== null && this.snapshot !== page.snapshot) {
      this.snapshot = page.snapshot;
      this.patched.clear();
      for (const other of this.pages.values()) other.stale = true;
      this.events.replaced();
    }
    this.snapshot = page.snapshot;
    this.count(number, page, begins);
    if (begins) this.dropStaleFarFrom(number);
    const rows = page.rows.map((row) => {
      const known = this.patched.get(row.key);
      if (known && known.version > page.version) return known.row;
      this.patched.delete(row.key);
      return row;
    });
    this.forget(number);
    this.pages.set(number, {
      rows,
      version: page.version,
      stale: false,
      partial: page.total_pending === true && rows.length < PAGE_ROWS,
    });
    const stored = this.pages.get(number);
    if (stored && this.counted) stored.stale = this.isCutShort(number, stored);
    rows.forEach((row, at) => this.indexOfKey.set(row.key, number * PAGE_ROWS + at));
    for (const oldest of this.pages.keys()) {
      if (this.pages.size <= PAGES_MAX) break;
      this.forget(oldest);
    }
    if (begins) this.events.started(page);
    this.events.changed();
    if (this.requests.size === 0) this.request();
  }

  /** Takes over the number of rows, or what is known of it, and has the others counted. */
  private count(number: number, page: Page, begins: boolean): void {
    if (!page.total_pending) {
      this.total = page.total;
      this.counted = true;
      this.stopCounting(true);
      return;
    }
    // An answer that was under way when they were counted knows less.
    if (this.counted) return;
    const known = this.counting && !begins ? (this.total ?? 0) : 0;
    this.total = Math.max(known, page.total, page.rows.length === 0 ? 0 : number * PAGE_ROWS + page.rows.length);
    this.counting = true;
    if (!this.counter && this.countTimer === undefined) void this.countAll();
  }

  private async countAll(): Promise<void> {
    const counter = new AbortController();
    this.counter = counter;
    try {
      const page = await this.source.page(this.query, 0, 0, counter.signal, { wait: this.wait, count: 'exact' });
      if (counter.signal.aborted) return;
      this.total = page.total;
      this.counted = true;
      this.stopCounting(true);
    } catch {
      if (counter.signal.aborted) return;
      // The rows are there all the same. It is tried again, less and less often.
      this.counter = null;
      this.countFailures += 1;
      const wait = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.countFailures);
      this.countTimer = setTimeout(() => {
        this.countTimer = undefined;
        void this.countAll();
      }, wait);
    }
    this.events.changed();
  }

  private stopCounting(isCounted: boolean): void {
    this.dropCounter();
    this.countFailures = 0;
    this.counting = false;
    for (const [number, page] of this.pages) page.stale ||= this.isCutShort(number, page);
    for (const tell of this.settled.splice(0)) tell(isCounted);
  }

  /** Whether a page ends before its rows do. */
  private isCutShort(number: number, page: LoadedPage): boolean {
    return page.partial && number * PAGE_ROWS + page.rows.length < (this.total ?? 0);
  }

  private dropCounter(): void {
    this.counter?.abort();
    this.counter = null;
    clearTimeout(this.countTimer);
    this.countTimer = undefined;
  }

  /** After a refresh the pages on screen stay until replaced; the rest would only be wrong. */
  private dropStaleFarFrom(number: number): void {
    const from = Math.floor(this.first / PAGE_ROWS);
    const to = Math.floor(this.last / PAGE_ROWS);
    for (const [other, page] of this.pages) {
      if (page.stale && other !== number && (other < from || other > to)) this.forget(other);
    }
  }

  private forget(number: number): void {
    const page = this.pages.get(number);
    if (!page) return;
    this.pages.delete(number);
    page.rows.forEach((row, at) => {
      if (this.indexOfKey.get(row.key) !== number * PAGE_ROWS + at) return;
      this.indexOfKey.delete(row.key);
      this.patched.delete(row.key);
    });
  }
}

/** The event that a person has seen for a cell, which an edit sends along. */
export function seenEvent(row: Row, column: string): number | null {
  return row.edits[column]?.event ?? row.event;
}

/** The newest event that a person has seen anywhere in a row; null when there was none. */
export function newestEvent(row: Row): number | null {
  const events = Object.values(row.edits).map((edit) => edit.event);
  if (row.event !== null) events.push(row.event);
  return events.length ? Math.max(...events) : null;
}

/** The override that stands on a cell; a taken-back one does not count. */
export function standingEdit(row: Row, column: string): CellEdit | undefined {
  const edit = row.edits[column];
  return edit && edit.state !== 'reverted' ? edit : undefined;
}
