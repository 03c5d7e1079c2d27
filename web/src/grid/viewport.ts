/** The rows on screen: one DOM row for each record, recycled while scrolling.
 *
 *  Rows lie in a sticky stage, which the compositor cannot scroll ahead of this code, so that nobody ever
 *  sees an empty table. Writes on a scrolled frame: the layer's offset, and the rows that came in. */

import { bindCell, clearCell, createCell, paintCell, unbindCell, type CellDom, type CellPaint } from './cell';
import { element, setAttributes } from './dom';
import type { GridCore } from './grid';
import { icon } from './icons';
import { BASE_STEP_PX, ScrollMap } from './scroll';
import type { Row } from './types';

interface RowDom {
  node: HTMLDivElement;
  gutter: HTMLDivElement;
  gutterText: Text;
  center: HTMLDivElement;
  pinnedCells: CellDom[];
  centerCells: CellDom[];
  index: number;
  row: Row | undefined;
  stamp: number;
  layout: number;
  base: number;
  className: string;
}

const COLUMNS_BESIDE_SCREEN = 2;
const SETTLE_MS = 120;

export class Viewport {
  /** Takes the focus from Tab and hands it to the grid's input. */
  readonly scroller = element('div', 'sg-scroller', { role: 'rowgroup', tabindex: 0 });
  /** Not clipped by rows: editors and name tags lie here, at the place of their cells. */
  readonly overlay = element('div', 'sg-overlay');
  readonly map = new ScrollMap();
  rowHeight = 30;
  height = 0;
  width = 0;
  scrollLeft = 0;
  private readonly sizer = element('div', 'sg-sizer');
  private readonly stage = element('div', 'sg-stage');
  private readonly layer = element('div', 'sg-layer');
  private readonly core: GridCore;
  private readonly observer: ResizeObserver;
  private pool: RowDom[] = [];
  private windowFirst = 0;
  private windowLast = -1;
  /** Unpinned cells in a row. A column keeps its cell while it is on screen, as a record keeps its row. */
  private windowCells = 0;
  private stamp = 1;
  private layout = 1;
  private base = 0;
  private frame = 0;
  /** Digits that row numbers were given room for while rows of the present query were counted. */
  private roomDigits = 0;
  private jumpedAt = 0;
  private settleTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly paintOf: CellPaint = {
    state: undefined,
    link: undefined,
    selected: false,
    active: false,
    flash: false,
    peer: false,
  };

  constructor(core: GridCore) {
    this.core = core;
    this.stage.append(this.layer);
    this.sizer.append(this.stage);
    this.scroller.append(this.sizer);
    this.scroller.addEventListener('focus', () => core.focus());
    this.scroller.addEventListener('scroll', this.scrolled, { passive: true });
    this.scroller.addEventListener('scrollend', this.settled);
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(this.scroller);
  }

  get firstRow(): number {
    return Math.floor(this.map.top / this.rowHeight);
  }

  get lastRow(): number {
    return Math.min(this.core.rowsTotal, Math.ceil((this.map.top + this.height) / this.rowHeight)) - 1;
  }

  /** Whole rows that fit on the screen. */
  get screenRows(): number {
    return Math.max(1, Math.floor(this.height / this.rowHeight) - 1);
  }

  /** Reads sizes from the page; called when the grid or the theme's row height changes. */
  measure(): void {
    const height = Number.parseFloat(getComputedStyle(this.core.root).getPropertyValue('--row-height'));
    this.rowHeight = Number.isFinite(height) && height >= 16 ? height : 30;
    this.height = this.scroller.clientHeight;
    this.width = this.scroller.clientWidth;
    this.stage.style.width = this.overlay.style.width = `${this.width}px`;
    this.stage.style.height = this.overlay.style.height = `${this.height}px`;
    this.core.root.style.setProperty('--sg-row', `${this.rowHeight}px`);
    this.resize();
  }

  /** The number of rows or the widths of columns changed. */
  resize(): void {
    const { columns } = this.core;
    columns.setGutter(this.digits() * 8 + 26);
    this.map.resize(this.core.rowsTotal, this.rowHeight, this.height);
    this.sizer.style.height = `${Math.max(1, this.map.sizerPx)}px`;
    this.sizer.style.width = `${columns.totalPx}px`;
    this.core.root.style.setProperty('--sg-pinned', `${columns.pinnedPx}px`);
    this.core.root.style.setProperty('--sg-gutter', `${columns.gutterPx}px`);
    const physical = this.map.physicalOf(this.map.top);
    if (Math.abs(this.scroller.scrollTop - physical) > 0.5) this.scroller.scrollTop = physical;
    this.scrollLeft = this.scroller.scrollLeft;
    this.layout += 1;
    this.windowLast = -1;
    this.core.header.layout();
    this.repaint();
  }

  /** Digits that row numbers need. While rows are counted, and when they have been, columns do not move for it. */
  private digits(): number {
    const { pages, options, rowsTotal } = this.core;
    const needed = Math.max(3, String(rowsTotal).length);
    const room = pages.counting ? String(options.rows ?? rowsTotal).length : this.roomDigits;
    this.roomDigits = pages.answered ? room : 0;
    return Math.max(needed, this.roomDigits);
  }

  /** Paints everything on screen in the next frame. */
  repaint(): void {
    this.stamp += 1;
    this.schedule();
  }

  scrollToTop(): void {
    this.scroller.scrollTop = this.map.moveTo(0);
    this.schedule();
  }

  /** Shows the rows from a place in px on, as far as there are so many. */
  scrollTo(top: number): void {
    this.moveTo(top);
  }

  /** Scrolls as little as shows the cell. */
  reveal(row: number, place: number): void {
    if (row >= 0) {
      const top = row * this.rowHeight;
      if (top < this.map.top) this.moveTo(top);
      else if (top + this.rowHeight > this.map.top + this.height) this.moveTo(top + this.rowHeight - this.height);
    }
    const view = this.core.columns.shown[place];
    if (!view || view.pinned) return;
    const room = this.width - this.core.columns.pinnedPx;
    let left = this.scroller.scrollLeft;
    if (view.left + view.width > left + room) left = view.left + view.width - room;
    if (view.left < left) left = view.left;
    if (left !== this.scroller.scrollLeft) {
      this.scroller.scrollLeft = left;
      this.schedule();
    }
  }

  /** Wheel notches over what lies above the scroller, and all of them when the thumb cannot resolve rows. */
  wheel(event: WheelEvent): void {
    if (event.ctrlKey) return;
    const inScroller = event.target instanceof Node && this.scroller.contains(event.target);
    if (inScroller && !this.map.capped) return;
    const unit = event.deltaMode === 1 ? this.rowHeight : event.deltaMode === 2 ? this.height : 1;
    const sideways = event.shiftKey && event.deltaX === 0;
    const down = sideways ? 0 : event.deltaY * unit;
    const right = (sideways ? event.deltaY : event.deltaX) * unit;
    if (right !== 0) this.scroller.scrollLeft += right;
    if (down !== 0) this.moveTo(this.map.top + down);
    event.preventDefault();
  }

  /** Place of a cell in the overlay; null when it is not on screen. */
  rectOf(row: number, place: number): { left: number; top: number; width: number; height: number } | null {
    const view = this.core.columns.shown[place];
    if (!view || row < 0) return null;
    const top = row * this.rowHeight - this.map.top;
    const { pinnedPx } = this.core.columns;
    const left = view.pinned ? view.left : pinnedPx + view.left - this.scrollLeft;
    if (top + this.rowHeight <= 0 || top >= this.height || left >= this.width) return null;
    if (!view.pinned && left + view.width <= pinnedPx) return null;
    return { left, top, width: view.width, height: this.rowHeight };
  }

  /** DOM of a cell, when it is on screen. */
  cellNode(row: number, place: number): HTMLElement | null {
    const dom = this.pool[row % this.pool.length];
    if (!dom || dom.index !== row) return null;
    const pinned = dom.pinnedCells[place];
    if (place < this.core.columns.pinnedCount) return pinned?.node ?? null;
    return dom.centerCells.find((cell) => cell.place === place)?.node ?? null;
  }

  /** The cell under an event target. Column -1 is the row number. */
  cellAt(target: EventTarget | null): { row: number; column: number } | null {
    const node = target instanceof Element ? target.closest<HTMLElement>('.sg-cell, .sg-gutter') : null;
    const rowNode = node?.closest<HTMLElement>('.sg-row');
    const dom = rowNode ? this.pool.find((candidate) => candidate.node === rowNode) : undefined;
    if (!node || !dom || dom.index < 0) return null;
    if (node === dom.gutter) return { row: dom.index, column: -1 };
    return { row: dom.index, column: this.core.columns.place(node.dataset['column'] ?? '') };
  }

  /** The cell at a point of the page, held inside the table: for dragging a selection. */
  cellNear(clientX: number, clientY: number): { row: number; column: number } {
    const box = this.scroller.getBoundingClientRect();
    const y = Math.min(this.height - 1, Math.max(0, clientY - box.top));
    const x = Math.min(this.width - 1, Math.max(0, clientX - box.left));
    const row = Math.min(this.core.rowsTotal - 1, Math.floor((this.map.top + y) / this.rowHeight));
    const { shown, pinnedPx, pinnedCount } = this.core.columns;
    const pinned = x < pinnedPx;
    const offset = pinned ? x : x - pinnedPx + this.scrollLeft;
    let column = pinned ? 0 : pinnedCount;
    const end = pinned ? pinnedCount : shown.length;
    while (column + 1 < end && (shown[column + 1]?.left ?? Infinity) <= offset) column += 1;
    return { row, column: Math.min(column, shown.length - 1) };
  }

  destroy(): void {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settleTimer);
  }

  private moveTo(top: number): void {
    this.scroller.scrollTop = this.map.moveTo(top);
    this.schedule();
  }

  private readonly scrolled = (): void => {
    const { scrollTop, scrollLeft } = this.scroller;
    // Our own write comes back as an event with the position that the map already holds.
    const jumped = Math.abs(scrollTop - this.map.physicalOf(this.map.top)) > 1 && this.map.scrolled(scrollTop);
    if (jumped) this.jumpedAt = performance.now();
    this.scrollLeft = scrollLeft;
    this.schedule();
  };

  /** Puts the thumb where the rows are; after small movements on a capped table it has drifted. */
  private readonly settled = (): void => {
    if (!this.map.capped) return;
    const physical = this.map.moveTo(this.map.top);
    if (Math.abs(this.scroller.scrollTop - physical) > 1) this.scroller.scrollTop = physical;
  };

  private schedule(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  private paint(): void {
    if (this.height === 0) return;
    const { core, map, rowHeight } = this;
    const first = this.firstRow;
    const last = this.lastRow;
    const settled = performance.now() - this.jumpedAt > SETTLE_MS;
    core.pages.need(first, Math.max(first, last), settled);
    if (!settled) {
      clearTimeout(this.settleTimer);
      this.settleTimer = setTimeout(() => this.schedule(), SETTLE_MS + 10);
    }
    this.bindWindow();
    this.fillPool();
    const base = Math.floor(map.top / BASE_STEP_PX) * BASE_STEP_PX;
    this.base = base;
    this.layer.style.transform = `translate3d(0,${base - map.top}px,0)`;
    this.layer.style.setProperty('--sg-x', `${-this.scrollLeft}px`);
    core.header.scrollTo(this.scrollLeft);
    const size = this.pool.length;
    for (let index = first; index < first + size; index += 1) {
      const dom = this.pool[index % size];
      if (!dom) continue;
      if (index > last) this.hide(dom);
      else this.paintRow(dom, index, rowHeight, settled);
    }
    core.painted();
  }

  private bindWindow(): void {
    const { columns } = this.core;
    const { first, last } = columns.window(this.scrollLeft, this.width);
    if (this.windowLast >= 0 && first >= this.windowFirst && last <= this.windowLast) return;
    this.windowFirst = Math.max(columns.pinnedCount, first - COLUMNS_BESIDE_SCREEN);
    this.windowLast = Math.min(columns.shown.length - 1, last + COLUMNS_BESIDE_SCREEN);
    this.windowCells = Math.max(this.windowCells, this.windowLast - this.windowFirst + 1);
    this.layout += 1;
  }

  private fillPool(): void {
    const wanted = Math.ceil(this.height / this.rowHeight) + 1;
    if (this.pool.length === wanted) return;
    while (this.pool.length > wanted) this.pool.pop()?.node.remove();
    while (this.pool.length < wanted) this.pool.push(this.createRow());
    for (const dom of this.pool) dom.index = -1;
  }

  private createRow(): RowDom {
    const gutterText = document.createTextNode('');
    const gutter = element('div', 'sg-gutter', { role: 'rowheader', 'aria-colindex': 1 });
    gutter.append(gutterText);
    const center = element('div', 'sg-center');
    const node = element('div', 'sg-row', { role: 'row' }, gutter, center);
    this.layer.append(node);
    return {
      node,
      gutter,
      gutterText,
      center,
      pinnedCells: [],
      centerCells: [],
      index: -1,
      row: undefined,
      stamp: 0,
      layout: 0,
      base: -1,
      className: '',
    };
  }

  private hide(dom: RowDom): void {
    if (dom.index === -1 && dom.className === 'sg-row sg-hidden') return;
    dom.index = -1;
    dom.row = undefined;
    dom.node.className = dom.className = 'sg-row sg-hidden';
    setAttributes(dom.node, { 'aria-hidden': 'true', 'data-key': null, 'aria-rowindex': null, 'aria-busy': null });
  }

  private paintRow(dom: RowDom, index: number, rowHeight: number, settled: boolean): void {
    const { core } = this;
    const row = core.pages.row(index);
    const moved = dom.index !== index;
    if (!moved && dom.row === row && dom.stamp === this.stamp && dom.layout === this.layout && dom.base === this.base)
      return;
    if (moved || dom.base !== this.base) {
      dom.base = this.base;
      dom.node.style.transform = `translateY(${index * rowHeight - this.base}px)`;
    }
    if (moved) {
      if (dom.index === -1) dom.node.removeAttribute('aria-hidden');
      dom.index = index;
      dom.node.setAttribute('aria-rowindex', String(index + 2));
      dom.gutterText.data = String(index + 1);
    }
    if (dom.layout !== this.layout) this.bindRow(dom);
    if (!row) {
      // A row that flies by under the thumb keeps its old cells, unseen: clearing them would cost the frame.
      if (dom.row || dom.className === '') dom.node.removeAttribute('data-key');
      this.setRowClass(dom, 'sg-row sg-busy');
      if (settled || dom.row === undefined) this.clearCells(dom, index);
      dom.row = undefined;
      dom.stamp = this.stamp;
      return;
    }
    if (dom.row?.key !== row.key || moved) dom.node.dataset['key'] = row.key;
    dom.row = row;
    dom.stamp = this.stamp;
    this.setRowClass(dom, core.rowClass(row));
    this.paintCells(dom, row, index);
  }

  private bindRow(dom: RowDom): void {
    const { shown, pinnedCount } = this.core.columns;
    dom.layout = this.layout;
    const size = (cells: CellDom[], wanted: number, parent: HTMLElement): void => {
      while (cells.length > wanted) cells.pop()?.node.remove();
      while (cells.length < wanted) {
        const cell = createCell();
        cells.push(cell);
        if (parent === dom.node) dom.center.before(cell.node);
        else parent.append(cell.node);
      }
    };
    size(dom.pinnedCells, pinnedCount, dom.node);
    size(dom.centerCells, this.windowCells, dom.center);
    dom.pinnedCells.forEach((cell, at) => {
      const view = shown[at];
      if (view) bindCell(cell, view, at);
    });
    const { windowFirst, windowLast, windowCells } = this;
    for (let place = windowFirst; place < windowFirst + windowCells; place += 1) {
      const cell = dom.centerCells[(place - pinnedCount) % windowCells];
      const view = place <= windowLast ? shown[place] : undefined;
      if (cell && view) bindCell(cell, view, place);
      else if (cell) unbindCell(cell);
    }
  }

  private paintCells(dom: RowDom, row: Row, index: number): void {
    const { core, paintOf } = this;
    const { selection, marks, separators } = core;
    const range = selection.range;
    const many = !selection.single;
    const inRows = many && index >= range.rowFirst && index <= range.rowLast;
    const activePlace = selection.active.row === index ? selection.active.column : -1;
    const states = core.states.isEmpty ? undefined : core.states.ofRow(row.key);
    const peers = marks.peersOf(row.key);
    const flashes = marks.flashesOf(row.key);
    const paintOne = (cell: CellDom): void => {
      const { view, place } = cell;
      if (!view) return;
      const name = view.column.name;
      paintOf.state = states?.get(name);
      const value = paintOf.state ? paintOf.state.value : row.cells[view.index];
      paintOf.link = view.column.link ? core.pages.label(name, value ?? null) : undefined;
      paintOf.active = place === activePlace;
      paintOf.selected = (inRows && place >= range.columnFirst && place <= range.columnLast) || (!many && paintOf.active);
      paintOf.flash = flashes?.has(name) ?? false;
      paintOf.peer = peers?.some((peer) => peer.column === name) ?? false;
      paintCell(cell, row, separators, paintOf);
    };
    for (const cell of dom.pinnedCells) paintOne(cell);
    for (const cell of dom.centerCells) paintOne(cell);
  }

  private clearCells(dom: RowDom, index: number): void {
    const { active } = this.core.selection;
    const place = active.row === index ? active.column : -1;
    for (const cell of dom.pinnedCells) clearCell(cell, cell.place === place && place >= 0);
    for (const cell of dom.centerCells) clearCell(cell, cell.place === place && place >= 0);
  }

  private setRowClass(dom: RowDom, className: string): void {
    if (dom.className === className) return;
    const busy = className.includes('sg-busy');
    if (busy !== dom.className.includes('sg-busy')) {
      if (busy) dom.node.setAttribute('aria-busy', 'true');
      else dom.node.removeAttribute('aria-busy');
    }
    dom.node.className = dom.className = className;
    const sign = className.includes('sg-approved') ? 'check' : className.includes('sg-created') ? 'plus' : null;
    while (dom.gutterText.nextSibling) dom.gutterText.nextSibling.remove();
    if (sign) {
      const holder = element('span', 'sg-rowsign', { role: 'img', 'aria-label': sign === 'check' ? 'approved' : 'added' });
      holder.append(icon(sign, 12));
      dom.gutter.append(holder);
    }
  }
}
