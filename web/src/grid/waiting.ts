/** What is shown while rows on screen are waited for: how far they are, and the way back to the rows before. */

import { WaitWatch, waitPercent, waitWords, type WaitProgress } from '../lib/wait';
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
  private step: WaitProgress['step'] = 'none';
  private spoken = 0;

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
    if (this.core.pages.waiting) this.watch.begin();
    else this.end();
  }

  /** Another query is about to be asked: the way back leads to the last one whose rows were seen. */
  leave(): void {
    this.end();
    this.backTo = null;
    if (!this.core.pages.answered) return;
    const { query, viewport, selection } = this.core;
    this.before = { query, top: viewport.map.top, active: selection.active };
  }

  /** The number of rows is known: the place before may be there again. */
  counted(): void {
    if (this.backTo === null) return;
    this.core.viewport.scrollTo(this.backTo);
    if (this.core.pages.answered) this.backTo = null;
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
    this.end();
  }

  private get canCancel(): boolean {
    return this.watch.on && JSON.stringify(this.before?.query ?? PLAIN) !== JSON.stringify(this.core.query);
  }

  private show(progress: WaitProgress): void {
    const words = waitWords(progress);
    const percent = waitPercent(progress);
    this.words.textContent = words;
    this.percent.textContent = percent === null ? '' : `${percent} %`;
    setAttributes(this.bar, { 'aria-label': words, 'aria-valuenow': percent });
    this.bar.classList.toggle('sg-waitunknown', percent === null);
    this.done.style.transform = percent === null ? '' : `scaleX(${percent / 100})`;
    this.step = progress.step;
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

  private end(): void {
    this.watch.end();
    if (this.node.hidden) return;
    const focused = this.node.contains(document.activeElement);
    this.node.hidden = true;
    window.removeEventListener('keydown', this.keyed);
    if (focused) this.core.focus();
    if (this.core.pages.answered && this.core.pages.error === null) this.core.announce(this.step === 'sorting' ? 'Sorted' : 'The rows are here');
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
