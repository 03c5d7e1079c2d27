/** Waiting for rows: how far they are, in words, and when it is asked. */
import { counted } from './format';

/** How far the rows are that a request waits for, as the server tells it. */
export interface WaitProgress {
  /** What is done at present; `none` when nothing is known to be. */
  step: 'none' | 'queued' | 'filtering' | 'sorting' | 'grouping';
  /** To how many rows; null when that is not known. */
  rows: number | null;
  /** How much of all the work is done: 0 to 100. */
  percent: number;
}

/** Shorter waits are not worth a word. */
export const WAIT_SHOWN_MS = 300;
/** Nor is it for longer while there are rows to look at, and only their number is still to come. */
export const COUNT_SHOWN_MS = 1_500;
const ASKED_AGAIN_MS = 400;
const ASKED_AGAIN_MS_MAX = 2_000;

/** Follows one wait after the other: asks how far it is once it takes long, and tells that until it ends. */
export class WaitWatch {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking: AbortController | null = null;
  private percent = 0;
  private readonly ask: (signal: AbortSignal) => Promise<WaitProgress>;
  private readonly tell: (progress: WaitProgress) => void;

  constructor(ask: (signal: AbortSignal) => Promise<WaitProgress>, tell: (progress: WaitProgress) => void) {
    this.ask = ask;
    this.tell = tell;
  }

  get on(): boolean {
    return this.asking !== null;
  }

  /** Somebody waits, which is told after a while. */
  begin(afterMs = WAIT_SHOWN_MS): void {
    if (this.asking) return;
    const asking = new AbortController();
    this.asking = asking;
    this.percent = 0;
    this.timer = setTimeout(() => void this.follow(asking.signal, ASKED_AGAIN_MS), afterMs);
  }

  /** Nobody waits any more. */
  end(): void {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.asking = null;
  }

  private async follow(signal: AbortSignal, againMs: number): Promise<void> {
    let progress: WaitProgress = { step: 'none', rows: null, percent: 0 };
    try {
      progress = await this.ask(signal);
    } catch {
      // Whoever waits is told by the request itself what is wrong with the server.
    }
    if (signal.aborted) return;
    // Several pages may be waited for, and one of them ends before the other.
    this.percent = Math.max(this.percent, progress.percent);
    this.tell({ ...progress, percent: this.percent });
    this.timer = setTimeout(() => void this.follow(signal, Math.min(ASKED_AGAIN_MS_MAX, againMs * 1.2)), againMs);
  }
}

/** What is waited for while there are rows to look at. */
export const countWords = 'Counting the rows…';

/** What is waited for: `Sorting 10,000,000 rows…` */
export function waitWords({ step, rows }: WaitProgress): string {
  const those = rows === null ? 'the rows' : counted(rows, 'row');
  switch (step) {
    case 'filtering':
      return `Filtering ${those}…`;
    case 'sorting':
      return `Sorting ${those}…`;
    case 'grouping':
      return `Grouping ${those}…`;
    case 'queued':
      return 'Waiting for other work on this table…';
    case 'none':
      return 'Waiting for the server…';
  }
}

/** How much is done, for a bar and in words; null when nothing is known to be under way. */
export function waitPercent({ step, percent }: WaitProgress): number | null {
  return step === 'none' || step === 'queued' ? null : percent;
}
