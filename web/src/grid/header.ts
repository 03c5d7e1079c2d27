/** The header row: sorting, widths, and the way to filters and column settings. */

import type { ColumnView } from './columns';
import { element, setAttributes, uniqueId } from './dom';
import type { GridCore } from './grid';
import { icon } from './icons';
import { HEADER_ROW } from './selection';

interface HeaderCell {
  view: ColumnView;
  node: HTMLDivElement;
  sort: HTMLSpanElement;
  filter: HTMLButtonElement;
}

const RESIZE_STEP_PX = 16;

export class Header {
  readonly node = element('div', 'sg-head', { role: 'rowgroup' });
  private readonly core: GridCore;
  private readonly row = element('div', 'sg-headrow', { role: 'row', 'aria-rowindex': 1 });
  private readonly corner = element('div', 'sg-headcell sg-corner', { role: 'columnheader', 'aria-colindex': 1 });
  private readonly center = element('div', 'sg-headcenter');
  private readonly columnsButton = element('button', 'sg-headbutton', {
    type: 'button',
    tabindex: -1,
    'aria-label': 'Columns',
    title: 'Columns',
  });
  private cells: HeaderCell[] = [];
  private scrollLeft = -1;
  private drag: { name: string; from: number; width: number } | null = null;

  constructor(core: GridCore) {
    this.core = core;
    this.columnsButton.append(icon('columns'));
    this.corner.append(this.columnsButton);
    this.corner.setAttribute('aria-label', 'Row');
    this.node.append(this.row);
    this.node.addEventListener('click', this.clicked);
    this.node.addEventListener('dblclick', this.doubleClicked);
    this.node.addEventListener('pointerdown', this.pressed);
    this.node.addEventListener('pointermove', this.dragged);
    this.node.addEventListener('pointerup', this.released);
    this.node.addEventListener('pointercancel', this.released);
    this.node.addEventListener('contextmenu', this.menu);
  }

  /** Builds the header anew, after columns came, went or moved. */
  rebuild(): void {
    const { shown, pinnedCount } = this.core.columns;
    this.cells = shown.map((view, place) => this.createCell(view, place));
    this.center.replaceChildren(...this.cells.slice(pinnedCount).map((cell) => cell.node));
    this.row.replaceChildren(this.corner, ...this.cells.slice(0, pinnedCount).map((cell) => cell.node), this.center);
    this.core.grid.setAttribute('aria-colcount', String(shown.length + 1));
    this.layout();
    this.update();
  }

  layout(): void {
    for (const { node, view } of this.cells) {
      node.style.left = `${view.left}px`;
      node.style.width = `${view.width}px`;
    }
  }

  /** Shows sort order, filters and the active header. */
  update(): void {
    const { query, selection } = this.core;
    this.cells.forEach((cell, place) => {
      const { name, title } = cell.view.column;
      const at = query.sort.findIndex((sort) => sort.column === name);
      const sort = query.sort[at];
      cell.node.setAttribute('aria-sort', sort ? (sort.descending ? 'descending' : 'ascending') : 'none');
      cell.sort.className = sort ? `sg-sort${sort.descending ? ' sg-descending' : ''}` : 'sg-none';
      const order = cell.sort.lastChild;
      if (order) order.textContent = query.sort.length > 1 && sort ? String(at + 1) : '';
      const filtered = query.filters.some((filter) => filter.column === name);
      cell.node.classList.toggle('sg-filtered', filtered);
      cell.filter.setAttribute('aria-label', filtered ? `Filter ${title} (set)` : `Filter ${title}`);
      const active = selection.active.row === HEADER_ROW && selection.active.column === place;
      cell.node.classList.toggle('sg-active', active);
    });
  }

  scrollTo(left: number): void {
    if (left === this.scrollLeft) return;
    this.scrollLeft = left;
    this.center.style.transform = `translateX(${-left}px)`;
  }

  cellNode(place: number): HTMLElement | null {
    return this.cells[place]?.node ?? null;
  }

  /** Next state of a column's sort: ascending, descending, none. */
  toggleSort(name: string, add: boolean): void {
    const { query } = this.core;
    const present = query.sort.find((sort) => sort.column === name);
    const next = !present ? { column: name, descending: false } : present.descending ? null : { column: name, descending: true };
    this.sortBy(name, next, add);
  }

  sortBy(name: string, next: { column: string; descending: boolean } | null, add: boolean): void {
    const { query } = this.core;
    let sort = query.sort;
    if (!add) sort = next ? [next] : [];
    else if (!next) sort = sort.filter((other) => other.column !== name);
    else if (sort.some((other) => other.column === name)) {
      sort = sort.map((other) => (other.column === name ? next : other));
    } else sort = [...sort, next];
    const title = this.core.columns.get(name)?.column.title ?? name;
    this.core.announce(next ? `Sorted by ${title}, ${next.descending ? 'descending' : 'ascending'}` : `${title} is not sorted`);
    this.core.changeQuery({ ...query, sort });
  }

  /** Widens or narrows a column from the keyboard. */
  nudge(name: string, direction: -1 | 1): void {
    const view = this.core.columns.get(name);
    if (!view) return;
    this.core.columns.resize(name, view.width + direction * RESIZE_STEP_PX);
    this.core.relayout();
    this.core.announce(`${view.column.title}: ${view.width} pixels wide`);
  }

  move(name: string, by: -1 | 1): void {
    if (!this.core.columns.move(name, by)) return;
    this.core.rebuildColumns();
    const place = this.core.columns.place(name);
    this.core.setActive(this.core.selection.active.row, place);
    this.core.announce(`Moved to place ${place + 1}`);
  }

  openMenu(place: number): void {
    const cell = this.cells[place];
    if (cell) this.core.menus.header(cell.view, () => cell.node.getBoundingClientRect());
  }

  openFilter(place: number): void {
    const cell = this.cells[place];
    if (!cell) return;
    const name = cell.view.column.name;
    this.core.filters.open(cell.view.column, () => {
      const at = this.core.columns.place(name);
      return (this.cells[at] ?? cell).node.getBoundingClientRect();
    });
  }

  openColumns(): void {
    this.core.menus.columns(() => this.corner.getBoundingClientRect());
  }

  private createCell(view: ColumnView, place: number): HeaderCell {
    const { column } = view;
    const title = element('span', 'sg-title', null, column.title);
    const sort = element('span', 'sg-none', { 'aria-hidden': 'true' });
    sort.append(icon('sort', 12), element('span', 'sg-sortorder'));
    const filter = element('button', 'sg-headbutton sg-filterbutton', {
      type: 'button',
      tabindex: -1,
      'aria-haspopup': 'dialog',
    });
    filter.append(icon('filter', 14));
    const grip = element('div', 'sg-grip', { 'aria-hidden': 'true' });
    const node = element(
      'div',
      view.className.replace('sg-cell', 'sg-headcell'),
      { role: 'columnheader', id: uniqueId('sg-head'), 'aria-colindex': place + 2, 'data-column': column.name },
      title,
      sort,
      filter,
      grip,
    );
    const facts = [column.description, column.editable ? null : 'Read only', column.key ? 'Key' : null];
    const known = facts.filter((fact) => fact !== null).join('. ');
    setAttributes(node, { title: known ? `${column.title}. ${known}` : column.title });
    return { view, node, sort, filter };
  }

  private placeOf(target: EventTarget | null): number {
    const node = target instanceof Element ? target.closest<HTMLElement>('.sg-headcell') : null;
    return this.cells.findIndex((cell) => cell.node === node);
  }

  private readonly clicked = (event: MouseEvent): void => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target || target.closest('.sg-grip')) return;
    if (target.closest('.sg-corner')) {
      this.openColumns();
      return;
    }
    const place = this.placeOf(target);
    const cell = this.cells[place];
    if (!cell) return;
    if (target.closest('.sg-filterbutton')) {
      this.core.setActive(HEADER_ROW, place);
      this.openFilter(place);
      return;
    }
    this.core.setActive(HEADER_ROW, place);
    this.core.focus();
    this.toggleSort(cell.view.column.name, event.shiftKey || event.ctrlKey || event.metaKey);
  };

  private readonly doubleClicked = (event: MouseEvent): void => {
    const target = event.target instanceof Element ? event.target : null;
    const cell = target?.closest('.sg-grip') ? this.cells[this.placeOf(target)] : undefined;
    if (cell) this.core.fitColumn(cell.view.column.name);
  };

  private readonly pressed = (event: PointerEvent): void => {
    const target = event.target instanceof Element ? event.target : null;
    const cell = target?.closest('.sg-grip') ? this.cells[this.placeOf(target)] : undefined;
    // The focus stays in the grid's input; a header takes it through `setActive`.
    if (!target?.closest('button')) event.preventDefault();
    if (!cell || event.button !== 0) return;
    this.drag = { name: cell.view.column.name, from: event.clientX, width: cell.view.width };
    this.node.setPointerCapture(event.pointerId);
    this.core.root.classList.add('sg-resizing');
  };

  private readonly dragged = (event: PointerEvent): void => {
    if (!this.drag) return;
    this.core.columns.resize(this.drag.name, this.drag.width + event.clientX - this.drag.from);
    this.core.relayout();
  };

  private readonly released = (): void => {
    this.drag = null;
    this.core.root.classList.remove('sg-resizing');
  };

  private readonly menu = (event: MouseEvent): void => {
    const place = this.placeOf(event.target);
    if (place < 0) return;
    event.preventDefault();
    this.core.setActive(HEADER_ROW, place);
    this.openMenu(place);
  };
}
