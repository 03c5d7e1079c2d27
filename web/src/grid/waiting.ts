/** What is shown while rows on screen are waited for: how far they are, and the way back to the rows before. */

import { COUNT_SHOWN_MS, WAIT_SHOWN_MS, countWords, WaitWatch, waitPercent, waitWords, type WaitProgress } from '../lib/wait';
import { element, setAttributes } from './dom';
import type { GridCore } from './grid';
import type { CellPosition } from './selection';
import type { Query } from './types';

/** A long wait is spoken of again after so long, and no more often. */
const SPOKEN_AGAIN_MS = 15_000;

/** Rows that were there, and the place in them. */
interface Before {
  query: Query;
  top: number;
  active: CellPosition;
}

export class Waiting {
  readonly node = element('div', 'sg-wait', { role: 'group', 'aria-label': 'Waiting for rows' });
  private readonly words = element('span', 'sg-waitwords');
  private readonly percent = element('span', 'sg-waitpercent');
  private readonly cancelButton = element('button', 'sg-button', { type: 'button', 'aria-keyshortcuts': 'Escape' });
  private readonly bar = element('div', 'sg-waitbar', { role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100 });
  private readonly done = element('div', 'sg-waitdone');
  private readonly core: GridCore;
  private readonly watch: WaitWatch;
  private before: Before | null = null;
  /** Where the rows before are to be shown, until enough of them are there. */
  private backTo: number | null = null;
  /** What is said when the wait is over. */
  private over = '';
  private spoken = 0;
  /** How many have wanted to go where only the number of rows leads; the last one does. */
  private jumps = 0;
  private jumping = false;
  /** When the present wait is shown; null while there is none. */
  private afterMs: number | null = null;

  constructor(core: GridCore) {
    this.core = core;
    this.node.hidden = true;
    this.cancelButton.append('Cancel ', element('kbd', '', { 'aria-hidden': 'true' }, 'Esc'));
    this.cancelButton.addEventListener('click', () => this.cancel());
    this.bar.append(this.done);
    this.node.append(this.words, this.percent, this.cancelButton, this.bar);
    this.watch = new WaitWatch(
      (signal) => core.pages.progress(signal),
      (progress) => this.show(progress),
    );
  }

  /** The rows that are on screen, or the requests for them, have changed. */
  update(): void {
    const { waiting, counting } = this.core.pages;
    const afterMs = waiting || this.jumping ? WAIT_SHOWN_MS : counting ? COUNT_SHOWN_MS : null;
    // What is waited for now is to be shown sooner, or later.
    if (afterMs !== this.afterMs && this.node.hidden) this.watch.end();
    this.afterMs = afterMs;
    if (afterMs === null) this.end(this.core.pages.error === null);
    else this.watch.begin(afterMs);
  }

  /** Does what needs the number of rows once that is known, unless somebody goes elsewhere meanwhile. */
  jump(run: () => void): void {
    this.jumps += 1;
    const mine = this.jumps;
    this.jumping = true;
    this.update();
    void this.core.pages.whenCounted().then((isCounted) => {
      if (mine !== this.jumps) return;
      this.jumping = false;
      if (isCounted && !this.core.destroyed) run();
    });
  }

  /** Somebody went elsewhere. */
  stay(): void {
    this.jumps += 1;
    this.jumping = false;
  }

  /** Another query is about to be asked: the way back leads to the last one whose rows were seen. */
  leave(): void {
    this.end(false);
    this.stay();
    this.backTo = null;
    if (!this.core.pages.answered) return;
    const { query, viewport, selection } = this.core;
    this.before = { query, top: viewport.map.top, active: selection.active };
  }

  /** The number of rows is known: the place before may be there again. */
  counted(): void {
    if (this.backTo === null) return;
    this.core.viewport.scrollTo(this.backTo);
    if (this.core.pages.answered && !this.core.pages.counting) this.backTo = null;
  }

  cancel(): void {
    const { core } = this;
    if (!this.canCancel) return;
    const { query, top, active } = this.before ?? { query: PLAIN, top: 0, active: { row: 0, column: 0 } };
    const words = `Cancelled. The table shows ${queryWords(core, query)}${this.before ? ', as before' : ''}.`;
    const cancelled = core.pages.given();
    core.changeQuery(query);
    this.before = null;
    this.backTo = top;
    core.viewport.scrollTo(top);
    core.selection.moveTo(active.row, active.column);
    cancelled();
    core.message('info', words);
    core.focus();
  }

  destroy(): void {
    this.end(false);
  }

  private get canCancel(): boolean {
    return this.watch.on && JSON.stringify(this.before?.query ?? PLAIN) !== JSON.stringify(this.core.query);
  }

  private show(progress: WaitProgress): void {
    const words = this.core.pages.waiting ? waitWords(progress) : countWords;
    const percent = waitPercent(progress);
    this.words.textContent = words;
    this.percent.textContent = percent === null ? '' : `${percent} %`;
    setAttributes(this.bar, { 'aria-label': words, 'aria-valuenow': percent });
    this.bar.classList.toggle('sg-waitunknown', percent === null);
    this.done.style.transform = percent === null ? '' : `scaleX(${percent / 100})`;
    const over = progress.step === 'sorting' ? 'Sorted' : 'The rows are here';
    this.over = this.core.pages.waiting ? over : 'All rows are counted';
    if (this.node.hidden) {
      this.node.hidden = false;
      this.cancelButton.hidden = !this.canCancel;
      window.addEventListener('keydown', this.keyed);
      this.spoken = performance.now();
      this.core.announce(this.canCancel ? `${words} Escape cancels.` : words);
    } else if (performance.now() - this.spoken > SPOKEN_AGAIN_MS) {
      this.spoken = performance.now();
      this.core.announce(percent === null ? words : `${words} ${percent} %`);
    }
  }

  private end(isOver: boolean): void {
    this.watch.end();
    if (this.node.hidden) return;
    const focused = this.node.contains(document.activeElement);
    this.node.hidden = true;
    window.removeEventListener('keydown', this.keyed);
    if (focused) this.core.focus();
    if (isOver) this.core.announce(this.over);
  }

  /** Escape cancels from wherever the focus is, unless something there has a use for it. */
  private readonly keyed = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape' || event.defaultPrevented || event.isComposing) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest('dialog, aside, [role="dialog"], [role="menu"]')) return;
    event.preventDefault();
    this.cancel();
  };
}

const PLAIN: Query = { sort: [], filters: [], states: [] };

/** `all rows, sorted by Species`, `the rows with these filters` */
function queryWords(core: GridCore, query: Query): string {
  const narrowed = query.filters.length + query.states.length;
  const rows = narrowed === 0 ? 'all rows' : `the rows with ${narrowed === 1 ? 'the filter' : 'the filters'}`;
  const title = (name: string): string => core.columns.get(name)?.column.title ?? name;
  const sort = query.sort.map((by) => title(by.column) + (by.descending ? ' (descending)' : ''));
  return `${rows}${sort.length > 0 ? `, sorted by ${sort.join(', ')}` : ' in the order of the original'}`;
}
