/** The grid as a whole: builds its parts, and is what they know of each other. */

import { Card } from './card';
import { ColumnModel, type ColumnView } from './columns';
import { button, element, uniqueId } from './dom';
import { CellStates } from './drafts';
import { Editor } from './editor';
import { Edits } from './edits';
import { Filters } from './filters';
import { describeValue, displayText, separatorsOf } from './format';
import { Header } from './header';
import { History } from './history';
import { handleKey } from './keyboard';
import { Marks } from './marks';
import { Menus } from './menus';
import { PageCache, standingEdit } from './pages';
import { Pointer } from './pointer';
import { Popover } from './popover';
import { HEADER_ROW, Selection, type Range } from './selection';
import { Transfer } from './transfer';
import type { Column, Draft, Grid, GridOptions, GridStatus, Links, Presence, Query, Row } from './types';
import { UndoStack } from './undo';
import { Viewport } from './viewport';
import { Waiting } from './waiting';

const REFRESH_SOON_MS = 500;
const ROWS_BEFORE_FIRST_ANSWER = 40;

export class GridCore {
  readonly options: GridOptions;
  readonly root = element('div', 'stet-grid');
  /** The element with the role `grid`: header and rows, nothing else. */
  readonly grid = element('div', 'sg-grid', { role: 'grid', id: uniqueId('sg-grid'), 'aria-multiselectable': 'true' });
  readonly separators = separatorsOf();
  readonly columns: ColumnModel;
  readonly pages: PageCache;
  readonly selection = new Selection();
  readonly states = new CellStates();
  readonly undoStack = new UndoStack();
  readonly marks: Marks;
  readonly viewport: Viewport;
  readonly header: Header;
  readonly filters: Filters;
  readonly popover: Popover;
  readonly menus: Menus;
  readonly editor: Editor;
  readonly edits: Edits;
  readonly history: History;
  readonly card: Card;
  readonly transfer: Transfer;
  readonly waiting: Waiting;
  query: Query;
  readOnly: string | null;
  destroyed = false;
  private readonly pointer: Pointer;
  private readonly life = new AbortController();
  private readonly live = element('div', 'sg-live', { 'aria-live': 'polite' });
  private readonly panel = element('div', 'sg-panel', { role: 'status' });
  private readonly progress = element('div', 'sg-progress', { role: 'progressbar', 'aria-label': 'Saving', 'aria-valuemin': 0, 'aria-valuemax': 100 });
  private readonly progressBar = element('div', 'sg-progressbar');
  private fitted = false;
  private panelKind = '';
  private statusSent = '';
  private activeSent = '';
  private refreshTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: HTMLElement, options: GridOptions) {
    this.options = options;
    this.query = copyQuery(options.query ?? { sort: [], filters: [], states: [] });
    this.readOnly = options.readOnly;
    this.columns = new ColumnModel(options.columns);
    this.pages = new PageCache(options.source, this.query, {
      changed: () => this.pagesChanged(),
      started: (page) => this.firstAnswer(page.rows),
      replaced: () => this.announce('The original dataset has been replaced'),
    });
    this.marks = new Marks(this);
    this.header = new Header(this);
    this.viewport = new Viewport(this);
    this.filters = new Filters(this);
    this.popover = new Popover(this.root, () => this.focus());
    this.menus = new Menus(this);
    this.editor = new Editor(this);
    this.edits = new Edits(this);
    this.history = new History(this);
    this.card = new Card(this);
    this.transfer = new Transfer(this);
    this.waiting = new Waiting(this);
    this.pointer = new Pointer(this);
    this.build(host);
  }

  /** Rows of the query; a screenful of placeholders before that is known. */
  get rowsTotal(): number {
    return this.pages.total ?? (this.pages.error === null ? ROWS_BEFORE_FIRST_ANSWER : 0);
  }

  /** Ends with the grid; given to requests that nothing else ends. */
  get lifetime(): AbortSignal {
    return this.life.signal;
  }

  focus(): void {
    this.editor.focus();
  }

  repaint(): void {
    if (!this.destroyed) this.viewport.repaint();
  }

  /** Widths changed. */
  relayout(): void {
    this.viewport.resize();
  }

  /** Columns came, went or moved. */
  rebuildColumns(): void {
    this.selection.clamp(this.rowsTotal, this.columns.shown.length);
    this.viewport.resize();
    this.header.rebuild();
    this.editor.follow();
  }

  fitColumn(name: string): void {
    const view = this.columns.get(name);
    if (!view) return;
    view.sized = false;
    this.columns.fit(this.visibleRows(), this.textOf);
    this.relayout();
  }

  announce(text: string): void {
    // The same words twice would not be read twice.
    this.live.textContent = this.live.textContent === text ? `${text}\u00a0` : text;
  }

  message(kind: 'info' | 'error', text: string): void {
    this.announce(text);
    this.options.onMessage?.({ kind, text });
  }

  /** The row and column of the active cell; null in the header and while its row is not loaded. */
  activeCell(): { row: Row; rowIndex: number; view: ColumnView } | null {
    const { row: rowIndex, column } = this.selection.active;
    const row = rowIndex < 0 ? undefined : this.pages.row(rowIndex);
    const view = this.columns.shown[column];
    return row && view ? { row, rowIndex, view } : null;
  }

  /** Why a cell cannot be edited, in plain words; null when it can. */
  whyFixed(view: ColumnView, row: Row): string | null {
    const { column } = view;
    if (this.readOnly !== null) return this.readOnly;
    if (column.type === 'other') return `${column.title} holds a kind of value that is shown only`;
    if (!column.editable) return column.key ? `${column.title} is the key of the row and stays as it is` : `${column.title} cannot be edited`;
    return row.cells.length > 0 ? null : 'This row cannot be edited';
  }

  setActive(row: number, column: number): void {
    this.waiting.stay();
    this.selection.moveTo(row, column);
    this.selection.clamp(this.rowsTotal, this.columns.shown.length);
    this.viewport.reveal(this.selection.active.row, this.selection.active.column);
    this.selectionChanged();
  }

  /** Makes a cell active without scrolling: under the mouse, cells must not move between press and release. */
  press(row: number, column: number): void {
    this.waiting.stay();
    this.selection.moveTo(row, column);
    this.selectionChanged();
  }

  moveActive(rows: number, columns: number): void {
    const { active } = this.selection;
    this.setActive(Math.max(0, active.row + rows), active.column + columns);
  }

  extendTo(row: number, column: number): void {
    this.waiting.stay();
    this.selection.extendTo(row, column);
    const { moving } = this.selection;
    this.viewport.reveal(moving.row, moving.column);
    this.selectionChanged();
  }

  selectRange(range: Range): void {
    this.selection.select(range);
    this.selectionChanged();
  }

  selectAll(): void {
    if (this.rowsTotal === 0) return;
    if (this.pages.counting) {
      this.waiting.jump(() => this.selectAll());
      return;
    }
    this.selectRange({ rowFirst: 0, rowLast: this.rowsTotal - 1, columnFirst: 0, columnLast: this.columns.shown.length - 1 });
  }

  /** Makes a cell active by its key, if its row is loaded. */
  goTo(key: string, column: string): void {
    const row = this.pages.indexOf(key);
    const place = this.columns.place(column);
    if (row >= 0 && place >= 0) this.setActive(row, place);
  }

  /** Where a cell is on the page; null when it is not on screen. */
  cellRect(key: string, column: string): DOMRect | null {
    return this.clientRect(this.pages.indexOf(key), this.columns.place(column));
  }

  activeRect(): DOMRect | null {
    const { row, column } = this.selection.active;
    return this.clientRect(row, column);
  }

  changeQuery(query: Query): void {
    this.setQuery(query);
    this.options.onQuery?.(copyQuery(this.query));
  }

  setQuery(query: Query): void {
    this.editor.commit('stay');
    this.waiting.leave();
    this.query = copyQuery(query);
    this.viewport.scrollToTop();
    this.selection.moveTo(Math.min(this.selection.active.row, 0), this.selection.active.column);
    this.pages.setQuery(this.query);
    this.header.update();
    this.filters.update();
    this.editor.follow();
    this.repaint();
  }

  refresh(): void {
    this.pages.refresh();
    this.repaint();
  }

  /** Several reasons to load again become one. */
  refreshSoon(): void {
    if (this.refreshTimer !== undefined) return;
    this.refreshTimer = setTimeout(() => {
      this.refreshTimer = undefined;
      this.refresh();
    }, REFRESH_SOON_MS);
  }

  patch(rows: Row[], deleted: string[], links: Links, version: number): void {
    this.pages.addLinks(links);
    this.marks.flashChanges(this.pages.patch(rows, version));
    const arrived = rows.some((row) => row.created && this.pages.indexOf(row.key) < 0);
    if (arrived || deleted.length > 0) this.refreshSoon();
    this.repaint();
  }

  setColumns(columns: Column[]): void {
    this.columns.replace(columns);
    this.rebuildColumns();
    this.refresh();
  }

  setReadOnly(reason: string | null): void {
    this.readOnly = reason;
    if (reason !== null) this.editor.cancel();
    this.grid.setAttribute('aria-readonly', reason === null ? 'false' : 'true');
    this.repaint();
  }

  setPresence(presence: Presence[]): void {
    this.marks.setPresence(presence);
  }

  drafts(): Draft[] {
    const drafts: Draft[] = [];
    for (const { key, column, value, message, kind } of this.states.all()) {
      if (kind !== 'pending') drafts.push({ key, column, value, message });
    }
    return drafts;
  }

  rowClass(row: Row): string {
    const { validation } = this;
    const value = validation ? (this.states.ofRow(row.key)?.get(validation.column.name)?.value ?? row.cells[validation.index]) : null;
    if (value === 'true') return row.created ? 'sg-row sg-approved sg-created' : 'sg-row sg-approved';
    return row.created ? 'sg-row sg-created' : 'sg-row';
  }

  /** Tells the page about the active cell. */
  activeChanged(): void {
    const active = this.activeCell();
    const { editing } = this.editor;
    const key = active?.row.key ?? null;
    const column = active?.view.column.name ?? null;
    const sent = JSON.stringify([key, column, editing]);
    if (sent === this.activeSent) return;
    this.activeSent = sent;
    this.options.onActiveCell?.({ key, column, editing });
  }

  /** The viewport has painted: what lies over it follows. */
  painted(): void {
    this.editor.place();
    this.marks.paintTags();
    this.pointer.rowsMoved();
    this.card.update();
    this.popover.place();
    const { row, column } = this.selection.active;
    const node = row === HEADER_ROW ? this.header.cellNode(column) : this.viewport.cellNode(row, column);
    this.editor.point(node?.id ?? null);
    this.paintPanel();
    this.paintProgress();
    this.waiting.update();
    this.activeChanged();
    this.sendStatus();
  }

  destroy(): void {
    this.destroyed = true;
    this.life.abort();
    clearTimeout(this.refreshTimer);
    window.removeEventListener('online', this.online);
    this.pages.close();
    this.waiting.destroy();
    this.marks.destroy();
    this.pointer.destroy();
    this.editor.destroy();
    this.card.hide();
    this.popover.destroy();
    this.viewport.destroy();
    this.root.remove();
  }

  private get validation(): ColumnView | undefined {
    return this.columns.all.find((view) => view.column.validation);
  }

  private build(host: HTMLElement): void {
    const frame = element('div', 'sg-frame');
    this.grid.setAttribute('aria-label', this.options.label);
    this.grid.append(this.header.node, this.viewport.scroller);
    this.progress.append(this.progressBar);
    this.progress.hidden = true;
    this.panel.hidden = true;
    frame.append(this.grid, this.viewport.overlay, this.panel, this.progress, this.waiting.node);
    this.root.append(this.filters.chips, frame, this.live);
    frame.addEventListener('wheel', (event) => this.viewport.wheel(event), { passive: false });
    this.root.addEventListener('keydown', this.keyed);
    for (const name of ['copy', 'cut', 'paste'] as const) this.root.addEventListener(name, this.clipboard);
    this.root.addEventListener('focusin', () => this.root.classList.add('sg-focused'));
    this.root.addEventListener('focusout', (event) => {
      const inside = event.relatedTarget instanceof Node && this.root.contains(event.relatedTarget);
      this.root.classList.toggle('sg-focused', inside);
      if (!inside) this.repaint();
    });
    window.addEventListener('online', this.online);
    host.append(this.root);
    this.setReadOnly(this.readOnly);
    this.header.rebuild();
    this.filters.update();
    this.viewport.measure();
    this.editor.follow();
    this.pages.need(0, ROWS_BEFORE_FIRST_ANSWER - 1, true);
  }

  private readonly keyed = (event: KeyboardEvent): void => {
    if (!this.editor.owns(event.target)) return;
    if (event.key === 'Tab' && event.shiftKey && !this.editor.editing) this.letFocusOut();
    if (!handleKey(this, event)) return;
    event.preventDefault();
    event.stopPropagation();
  };

  /** Shift+Tab would come upon the scroller first, which gives the focus straight back. It is in the way again once the focus has left. */
  private letFocusOut(): void {
    const { scroller } = this.viewport;
    const back = (): void => {
      scroller.tabIndex = 0;
      this.root.removeEventListener('focusout', back);
      this.root.removeEventListener('keyup', back);
    };
    scroller.tabIndex = -1;
    this.root.addEventListener('focusout', back);
    this.root.addEventListener('keyup', back);
  }

  private readonly clipboard = (event: ClipboardEvent): void => {
    if (!this.editor.owns(event.target) || this.editor.editing) return;
    if (event.type !== 'paste') {
      this.transfer.copy(event, event.type === 'cut');
      return;
    }
    event.preventDefault();
    void this.transfer.paste(event.clipboardData?.getData('text/plain') ?? '');
  };

  private readonly online = (): void => {
    void this.edits.retry();
  };

  private clientRect(row: number, place: number): DOMRect | null {
    if (row === HEADER_ROW && place >= 0) return this.header.cellNode(place)?.getBoundingClientRect() ?? null;
    const rect = this.viewport.rectOf(row, place);
    if (!rect) return null;
    const box = this.viewport.scroller.getBoundingClientRect();
    return new DOMRect(box.left + rect.left, box.top + rect.top, rect.width, rect.height);
  }

  private selectionChanged(): void {
    this.header.update();
    this.editor.follow();
    this.card.dismiss();
    this.speakActive();
    this.activeChanged();
    this.repaint();
  }

  /** Says what a sighted person sees by marks: state of the active cell, size of the selection. */
  private speakActive(): void {
    if (!this.selection.single) {
      this.announce(`${this.selection.cells.toLocaleString()} cells selected`);
      return;
    }
    const active = this.activeCell();
    if (!active) return;
    const { column } = active.view;
    const state = this.states.get(active.row.key, column.name);
    const edit = standingEdit(active.row, column.name);
    const peer = this.marks.peersOf(active.row.key)?.find((other) => other.column === column.name);
    const words: string[] = [];
    if (state) words.push(state.kind === 'pending' ? 'being saved' : `draft, not saved: ${state.message}`);
    if (edit) words.push(`edited by ${edit.user}, original ${describeValue(edit.original, column, this.separators)}`);
    if (edit?.state === 'source_changed') words.push('the source has changed since');
    if (edit?.state === 'misfit') words.push('this edit no longer fits the column, the original is shown');
    if (peer) words.push(`${peer.name} is ${peer.editing ? 'editing' : 'here'}`);
    if (words.length > 0) this.announce(words.join('; '));
  }

  private firstAnswer(rows: Row[]): void {
    if (!this.fitted && rows.length > 0) {
      this.fitted = true;
      this.columns.fit(rows.slice(0, 60), this.textOf);
    }
  }

  private readonly textOf = (view: ColumnView, row: Row): string => {
    const value = row.cells[view.index] ?? null;
    if (view.column.type === 'boolean') return '';
    const link = view.column.link ? this.pages.label(view.column.name, value) : undefined;
    return link?.label ? `${link.label} ${value ?? ''} and more` : displayText(value, view.column, this.separators);
  };

  private visibleRows(): Row[] {
    const rows: Row[] = [];
    for (let index = this.viewport.firstRow; index <= this.viewport.lastRow; index += 1) {
      const row = this.pages.row(index);
      if (row) rows.push(row);
    }
    return rows;
  }

  private pagesChanged(): void {
    if (this.destroyed) return;
    this.grid.setAttribute('aria-rowcount', this.pages.counting ? '-1' : String(this.rowsTotal + 1));
    this.selection.clamp(this.rowsTotal, this.columns.shown.length);
    this.viewport.resize();
    this.waiting.counted();
  }

  private paintPanel(): void {
    const { pages } = this;
    const kind = pages.error !== null ? `error:${pages.error}` : pages.total === 0 && !pages.counting ? 'empty' : '';
    if (kind === this.panelKind) return;
    this.panelKind = kind;
    this.panel.hidden = kind === '';
    this.panel.className = pages.error !== null && pages.total ? 'sg-panel sg-strip' : 'sg-panel';
    if (pages.error !== null) {
      const retry = button('Retry', 'sg-button', () => {
        this.refresh();
        this.focus();
      });
      this.panel.replaceChildren(element('p', '', null, `The rows could not be loaded: ${pages.error}`), retry);
    } else if (kind === 'empty') {
      const filtered = this.query.filters.length > 0 || this.query.states.length > 0;
      this.panel.replaceChildren(element('p', '', null, filtered ? 'No rows match' : 'There are no rows'));
      if (filtered) {
        this.panel.append(
          button('Clear filters', 'sg-button', () => {
            this.filters.clear();
            this.focus();
          }),
        );
      }
    } else this.panel.replaceChildren();
  }

  private paintProgress(): void {
    const { progress } = this.edits;
    this.progress.hidden = progress === null;
    if (!progress) return;
    const percent = Math.round((progress.done / progress.total) * 100);
    this.progress.setAttribute('aria-valuenow', String(percent));
    this.progressBar.style.transform = `scaleX(${Math.max(0.03, percent / 100)})`;
  }

  private sendStatus(): void {
    const { onStatus } = this.options;
    if (!onStatus) return;
    const { selection, states, pages } = this;
    const range = selection.range;
    const status: GridStatus = {
      total: pages.total ?? 0,
      counting: pages.counting,
      pending: states.pending,
      drafts: states.drafts,
      selection: selection.single ? null : { rows: range.rowLast - range.rowFirst + 1, cells: selection.cells },
      loading: pages.loading,
      error: pages.error,
    };
    const sent = JSON.stringify(status);
    if (sent === this.statusSent) return;
    this.statusSent = sent;
    onStatus(status);
  }
}

function copyQuery(query: Query): Query {
  return {
    sort: query.sort.map((sort) => ({ ...sort })),
    filters: query.filters.map((filter) => ({ ...filter })),
    states: [...query.states],
  };
}

/** Mounts a grid into `host`, which it fills. `grid.css` and the page's design tokens give it its looks. */
export function createGrid(host: HTMLElement, options: GridOptions): Grid {
  const core = new GridCore(host, options);
  return {
    refresh: () => core.refresh(),
    patch: (rows, deleted, links, version) => core.patch(rows, deleted, links, version),
    setPresence: (presence) => core.setPresence(presence),
    setQuery: (query) => core.setQuery(query),
    query: () => copyQuery(core.query),
    undo: () => void core.edits.undo(),
    redo: () => void core.edits.redo(),
    focus: () => core.focus(),
    setColumns: (columns) => core.setColumns(columns),
    setReadOnly: (reason) => core.setReadOnly(reason),
    drafts: () => core.drafts(),
    destroy: () => core.destroy(),
  };
}
