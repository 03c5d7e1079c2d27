/** The mouse over cells: select, drag, tick, edit, menus, tooltips. Listeners sit on the scroller, none on cells. */

import { element } from './dom';
import { describeValue, formatWhen, linkText } from './format';
import type { GridCore } from './grid';
import { icon } from './icons';
import { standingEdit } from './pages';

const EDGE_PX = 24;

export class Pointer {
  private readonly core: GridCore;
  private readonly historyButton = element('button', 'sg-historybutton', {
    type: 'button',
    tabindex: -1,
    'aria-label': 'History of this cell',
    title: 'History of this cell (Alt+H)',
  });
  private dragging = false;
  private dragFrame = 0;
  private at = { x: 0, y: 0 };
  private hovered: { key: string; column: string } | null = null;

  constructor(core: GridCore) {
    this.core = core;
    const { scroller, overlay } = core.viewport;
    this.historyButton.append(icon('history', 13));
    this.historyButton.hidden = true;
    overlay.append(this.historyButton);
    scroller.addEventListener('pointerdown', this.pressed);
    scroller.addEventListener('pointermove', this.moved);
    scroller.addEventListener('pointerup', this.released);
    scroller.addEventListener('pointercancel', this.released);
    scroller.addEventListener('mousedown', this.keepFocus);
    scroller.addEventListener('click', this.clicked);
    scroller.addEventListener('dblclick', this.doubleClicked);
    scroller.addEventListener('contextmenu', this.menu);
    scroller.addEventListener('pointerover', this.over);
    this.historyButton.addEventListener('click', this.openHistory);
  }

  destroy(): void {
    cancelAnimationFrame(this.dragFrame);
  }

  /** Cells move under a resting mouse; a button left behind would belong to another one. */
  rowsMoved(): void {
    const { hovered, core } = this;
    if (!hovered) return;
    const rect = core.viewport.rectOf(core.pages.indexOf(hovered.key), core.columns.place(hovered.column));
    const row = core.pages.byKey(hovered.key);
    if (!rect || !row || !standingEdit(row, hovered.column) || core.editor.editing) {
      this.hovered = null;
      this.historyButton.hidden = true;
      return;
    }
    const { historyButton } = this;
    historyButton.hidden = false;
    historyButton.style.transform = `translate(${rect.left + rect.width - 25}px,${rect.top + (rect.height - 24) / 2}px)`;
  }

  /** A press in the table must not take the focus from the grid's input to the scroller. */
  private readonly keepFocus = (event: MouseEvent): void => {
    event.preventDefault();
    this.core.focus();
  };

  private readonly pressed = (event: PointerEvent): void => {
    const { core } = this;
    if (event.button > 0 || event.pointerType === 'touch') return;
    const cell = core.viewport.cellAt(event.target);
    if (!cell) return;
    core.editor.commit('stay');
    const columnLast = core.columns.shown.length - 1;
    if (cell.column < 0) {
      const from = event.shiftKey ? core.selection.range.rowFirst : cell.row;
      core.selectRange({
        rowFirst: Math.max(0, Math.min(from, cell.row)),
        rowLast: Math.max(from, cell.row),
        columnFirst: 0,
        columnLast,
      });
    } else if (event.shiftKey) core.extendTo(cell.row, cell.column);
    else {
      core.press(cell.row, cell.column);
      this.dragging = true;
      this.at = { x: event.clientX, y: event.clientY };
    }
  };

  private readonly moved = (event: PointerEvent): void => {
    if (!this.dragging) return;
    const far = Math.abs(event.clientX - this.at.x) + Math.abs(event.clientY - this.at.y) > 4;
    const { scroller } = this.core.viewport;
    if (!scroller.hasPointerCapture(event.pointerId)) {
      if (!far) return;
      scroller.setPointerCapture(event.pointerId);
      this.dragFrame = requestAnimationFrame(this.drag);
    }
    this.at = { x: event.clientX, y: event.clientY };
  };

  /** Follows the mouse once a frame, and scrolls while it is at an edge. */
  private readonly drag = (): void => {
    if (!this.dragging) return;
    const { viewport, selection } = this.core;
    const box = viewport.scroller.getBoundingClientRect();
    const target = viewport.cellNear(this.at.x, this.at.y);
    if (this.at.y > box.top + viewport.height - EDGE_PX) target.row = Math.min(this.core.rowsTotal - 1, target.row + 1);
    else if (this.at.y < box.top + EDGE_PX / 2) target.row = Math.max(0, target.row - 1);
    if (target.row !== selection.moving.row || target.column !== selection.moving.column) {
      this.core.extendTo(target.row, target.column);
    }
    this.dragFrame = requestAnimationFrame(this.drag);
  };

  private readonly released = (): void => {
    this.dragging = false;
    cancelAnimationFrame(this.dragFrame);
  };

  private readonly clicked = (event: MouseEvent): void => {
    const { core } = this;
    const target = event.target instanceof Element ? event.target : null;
    const cell = core.viewport.cellAt(target);
    if (!cell || cell.column < 0) return;
    // A touch that turns out to be a tap; the press handler leaves touches to scrolling.
    if (event instanceof PointerEvent && event.pointerType === 'touch') {
      core.editor.commit('stay');
      core.press(cell.row, cell.column);
    }
    const { active } = core.selection;
    const same = active.row === cell.row && active.column === cell.column;
    if (same && core.selection.single && target?.closest('.sg-box')) core.editor.start(null);
  };

  private readonly doubleClicked = (event: MouseEvent): void => {
    const target = event.target instanceof Element ? event.target : null;
    const cell = this.core.viewport.cellAt(target);
    if (!cell || cell.column < 0 || target?.closest('.sg-box')) return;
    this.core.editor.start(null);
  };

  private readonly menu = (event: MouseEvent): void => {
    const { core } = this;
    const cell = core.viewport.cellAt(event.target);
    if (!cell || cell.column < 0) return;
    event.preventDefault();
    core.editor.commit('stay');
    if (!core.selection.has(cell.row, cell.column)) core.press(cell.row, cell.column);
    const point = new DOMRect(event.clientX, event.clientY, 0, 0);
    core.menus.cell(() => point);
  };

  /** Tooltips are written when a cell is hovered: writing them while scrolling would be wasted. */
  private readonly over = (event: PointerEvent): void => {
    const { core } = this;
    const cell = core.viewport.cellAt(event.target);
    const view = cell && cell.column >= 0 ? core.columns.shown[cell.column] : undefined;
    const row = cell ? core.pages.row(cell.row) : undefined;
    if (!cell || !view || !row) return;
    const node = core.viewport.cellNode(cell.row, cell.column);
    const { column } = view;
    const edit = standingEdit(row, column.name);
    const state = core.states.get(row.key, column.name);
    const value = state ? state.value : (row.cells[view.index] ?? null);
    const lines: string[] = [];
    if (value !== null && column.type !== 'boolean') lines.push(value.length > 1000 ? `${value.slice(0, 1000)}\u2026` : value);
    const link = column.link ? core.pages.label(column.name, value) : undefined;
    if (link) {
      lines.splice(0, 1, `${link.label ?? ''} (${value ?? ''})`);
      if (linkText(link)) lines.push(linkText(link));
    } else if (column.link && value !== null) lines.push(`Not found in ${column.link.dataset}`);
    if (state?.message) lines.push(state.message);
    else if (edit) {
      lines.push(`Edited by ${edit.user}, ${formatWhen(edit.date)}. Original: ${describeValue(edit.original, column, core.separators)}`);
      if (edit.state === 'source_changed') lines.push('The source has changed since this edit.');
      if (edit.state === 'misfit') lines.push('This edit no longer fits the column: the original is shown.');
      if (edit.state === 'agrees') lines.push('The source now has the same value.');
    }
    if (node && node.title !== lines.join('\n')) node.title = lines.join('\n');
    this.hovered = edit && !state ? { key: row.key, column: column.name } : null;
    if (this.hovered) this.rowsMoved();
    else this.historyButton.hidden = true;
  };

  private readonly openHistory = (): void => {
    const { hovered, core } = this;
    if (!hovered) return;
    core.goTo(hovered.key, hovered.column);
    core.history.open();
  };
}
