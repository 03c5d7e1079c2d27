/**
 * Live messages from the server (server-sent events) that come back by themselves. The browser's own reconnect
 * gives up on any HTTP error and cannot be slowed down, so the waiting is done here.
 */

export type StreamState = 'connecting' | 'open' | 'reconnecting';

export interface StreamOptions {
  /** What to do with each kind of message; the data is the parsed JSON. */
  on: Record<string, (data: never) => void>;
  onState?: (state: StreamState) => void;
  /**
   * Asked before every reconnect after a failure. Answers false to stop for good (the session has ended).
   * An error means that the server is not there yet.
   */
  mayReconnect?: () => Promise<boolean>;
}

export interface Stream {
  close(): void;
}

const waitMsMin = 1_000;
const waitMsMax = 30_000;
/**
 * A browser allows six connections to a host over HTTP/1.1, so that six forgotten tabs would block the seventh:
 * a page that nobody looks at gives its connection back after a while and catches up when it is shown again.
 */
const hiddenMsMax = 60_000;

/** How long to wait before the given attempt (from 0), with `random` in 0..1 so that clients do not come in step. */
export function backoffMs(attempt: number, random: number): number {
  const most = Math.min(waitMsMax, waitMsMin * 2 ** Math.min(attempt, 10));
  return Math.round(most * (0.5 + random / 2));
}

/** Opens the stream at `url` and keeps it open until `close`. */
export function openStream(url: string, options: StreamOptions): Stream {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let closed = false;
  let paused = false;

  function connect(): void {
    clearTimeout(timer);
    timer = undefined;
    source?.close();
    const opened = new EventSource(url);
    source = opened;
    opened.onopen = () => {
      attempt = 0;
      options.onState?.('open');
    };
    opened.onerror = () => {
      if (source === opened) retry();
    };
    for (const [name, handle] of Object.entries(options.on)) {
      opened.addEventListener(name, (event: MessageEvent<string>) => {
        let data: unknown;
        try {
          data = event.data === '' ? {} : JSON.parse(event.data);
        } catch {
          // A message cut short: start again, the first message after a reconnect brings the present state.
          if (source === opened) retry();
          return;
        }
        handle(data as never);
      });
    }
  }

  function retry(): void {
    source?.close();
    source = null;
    if (closed || paused || timer !== undefined) return;
    options.onState?.('reconnecting');
    timer = setTimeout(() => void reconnect(), backoffMs(attempt, Math.random()));
    attempt += 1;
  }

  async function reconnect(): Promise<void> {
    timer = undefined;
    try {
      if (options.mayReconnect && !(await options.mayReconnect())) return;
    } catch {
      retry();
      return;
    }
    if (!closed && !paused) connect();
  }

  function onOnline(): void {
    if (closed || paused || source !== null) return;
    clearTimeout(timer);
    timer = undefined;
    connect();
  }

  function onVisibility(): void {
    clearTimeout(hiddenTimer);
    if (document.visibilityState === 'hidden') {
      hiddenTimer = setTimeout(() => {
        paused = true;
        clearTimeout(timer);
        timer = undefined;
        source?.close();
        source = null;
      }, hiddenMsMax);
    } else if (paused) {
      paused = false;
      options.onState?.('reconnecting');
      connect();
    }
  }

  window.addEventListener('online', onOnline);
  document.addEventListener('visibilitychange', onVisibility);
  options.onState?.('connecting');
  connect();

  return {
    close() {
      closed = true;
      clearTimeout(timer);
      clearTimeout(hiddenTimer);
      source?.close();
      source = null;
      window.removeEventListener('online', onOnline);
      document.removeEventListener('visibilitychange', onVisibility);
    },
  };
}
