/** Painting of one cell. This is the hot path: nothing is written that did not change. */

import type { ColumnView } from './columns';
import { element, uniqueId } from './dom';
import type { CellState, CellStateKind } from './drafts';
import { displayText, linkText, type Separators } from './format';
import { icon, type IconName } from './icons';
import { standingEdit } from './pages';
import type { CellEdit, LinkLabel, Row } from './types';

export interface CellDom {
  readonly node: HTMLDivElement;
  readonly text: Text;
  view: ColumnView | null;
  /** Place of the column among those shown; -1 while the cell has none. */
  place: number;
  left: number;
  width: number;
  className: string;
  shown: string;
  label: string;
  selected: boolean;
  box: HTMLSpanElement | null;
  boxState: string;
  more: HTMLSpanElement | null;
  moreText: string;
  sign: HTMLSpanElement | null;
  signKind: string;
}

/** What a cell shows besides its row. */
export interface CellPaint {
  state: CellState | undefined;
  link: LinkLabel | undefined;
  selected: boolean;
  active: boolean;
  flash: boolean;
  peer: boolean;
}

export function createCell(): CellDom {
  const text = document.createTextNode('');
  const node = element('div', 'sg-cell', { role: 'gridcell', id: uniqueId('sg-cell') });
  node.append(text);
  return {
    node,
    text,
    view: null,
    place: -1,
    left: -1,
    width: -1,
    className: 'sg-cell',
    shown: '',
    label: '',
    selected: false,
    box: null,
    boxState: '',
    more: null,
    moreText: '',
    sign: null,
    signKind: '',
  };
}

/** Gives a cell to a column; its content is painted afterwards. */
export function bindCell(cell: CellDom, view: ColumnView, place: number): void {
  const { node } = cell;
  if (cell.view !== view) {
    cell.view = view;
    node.dataset['column'] = view.column.name;
    if (view.column.type === 'text') node.setAttribute('dir', 'auto');
    else node.removeAttribute('dir');
    if (view.column.editable) node.removeAttribute('aria-readonly');
    else node.setAttribute('aria-readonly', 'true');
  }
  if (cell.place !== place) {
    if (cell.place < 0) node.hidden = false;
    cell.place = place;
    node.setAttribute('aria-colindex', String(place + 2));
  }
  if (cell.left !== view.left) node.style.left = `${(cell.left = view.left)}px`;
  if (cell.width !== view.width) node.style.width = `${(cell.width = view.width)}px`;
}

/** Takes a cell out of the row until a column needs it. */
export function unbindCell(cell: CellDom): void {
  if (cell.place < 0 && cell.node.hidden) return;
  cell.place = -1;
  cell.view = null;
  cell.node.hidden = true;
}

export function paintCell(cell: CellDom, row: Row, separators: Separators, paint: CellPaint): void {
  const view = cell.view;
  if (!view) return;
  const { column } = view;
  const { state } = paint;
  const value = state ? state.value : (row.cells[view.index] ?? null);
  const edit = state?.action === 'revert' ? undefined : standingEdit(row, column.name);

  let className = view.className;
  if (value === '') className += ' sg-hollow';
  if (edit) className += ' sg-edited';
  if (edit && needsReview(edit)) className += ' sg-stale';
  else if (edit?.state === 'agrees') className += ' sg-agrees';
  if (state) className += stateClass[state.kind];
  if (paint.peer) className += ' sg-peer';
  if (paint.selected) className += ' sg-selected';
  if (paint.active) className += ' sg-active';
  if (paint.flash) className += ' sg-flash';
  if (className !== cell.className) cell.node.className = cell.className = className;

  if (paint.selected !== cell.selected) {
    cell.selected = paint.selected;
    if (paint.selected) cell.node.setAttribute('aria-selected', 'true');
    else cell.node.removeAttribute('aria-selected');
  }

  const checkbox = column.type === 'boolean' && (value === null || value === 'true' || value === 'false');
  const label = checkbox ? (value === 'true' ? 'yes' : value === 'false' ? 'no' : 'blank') : '';
  const link = column.link && value !== null ? paint.link : undefined;
  setText(cell, checkbox ? '' : (link?.label ?? displayText(value, column, separators)));
  setBox(cell, checkbox ? label : '');
  const lookups = linkText(link);
  setMore(cell, link?.label ? (lookups ? `${value ?? ''} \u00b7 ${lookups}` : (value ?? '')) : '');
  setSign(cell, state ? state.kind : edit?.state === 'source_changed' ? 'stale' : edit?.state === 'misfit' ? 'misfit' : '');
  if (label !== cell.label) {
    cell.label = label;
    if (label) cell.node.setAttribute('aria-label', label);
    else cell.node.removeAttribute('aria-label');
  }
}

/** Empties a cell of a row that is not loaded. */
export function clearCell(cell: CellDom, active: boolean): void {
  const className = (cell.view?.className ?? 'sg-cell') + (active ? ' sg-active' : '');
  if (className !== cell.className) cell.node.className = cell.className = className;
  setText(cell, '');
  setBox(cell, '');
  setMore(cell, '');
  setSign(cell, '');
  if (cell.selected) {
    cell.selected = false;
    cell.node.removeAttribute('aria-selected');
  }
  if (cell.label) {
    cell.label = '';
    cell.node.removeAttribute('aria-label');
  }
}

const stateClass: Record<CellStateKind, string> = {
  pending: ' sg-pending',
  refused: ' sg-draft sg-refused',
  conflict: ' sg-draft sg-conflict',
  offline: ' sg-draft sg-offline',
};

const signs: Record<string, { icon: IconName | null; label: string }> = {
  pending: { icon: null, label: 'being saved' },
  refused: { icon: 'warning', label: 'not accepted' },
  conflict: { icon: 'conflict', label: 'changed by somebody else' },
  offline: { icon: 'offline', label: 'not sent yet' },
  stale: { icon: 'stale', label: 'the source has changed since this edit' },
  misfit: { icon: 'stale', label: 'an edit of this cell no longer fits the column; the original is shown' },
};

/** Whether a person should look at an edit again. */
function needsReview(edit: CellEdit): boolean {
  return edit.state === 'source_changed' || edit.state === 'misfit';
}

function setText(cell: CellDom, text: string): void {
  if (text !== cell.shown) cell.text.data = cell.shown = text;
}

function setBox(cell: CellDom, state: string): void {
  if (state === cell.boxState) return;
  cell.boxState = state;
  if (!cell.box) {
    cell.box = element('span');
    cell.node.append(cell.box);
  }
  cell.box.className = state ? `sg-box sg-box-${state}` : 'sg-none';
}

function setMore(cell: CellDom, text: string): void {
  if (text === cell.moreText) return;
  cell.moreText = text;
  if (!cell.more) {
    cell.more = element('span', 'sg-more');
    cell.text.after(cell.more);
  }
  cell.more.textContent = text;
}

function setSign(cell: CellDom, kind: string): void {
  if (kind === cell.signKind) return;
  cell.signKind = kind;
  if (!cell.sign) {
    cell.sign = element('span');
    cell.node.append(cell.sign);
  }
  const sign = signs[kind];
  cell.sign.className = sign ? `sg-sign sg-sign-${kind}` : 'sg-none';
  cell.sign.replaceChildren();
  if (!sign) {
    cell.sign.removeAttribute('role');
    cell.sign.removeAttribute('aria-label');
    return;
  }
  cell.sign.setAttribute('role', 'img');
  cell.sign.setAttribute('aria-label', sign.label);
  if (sign.icon) cell.sign.append(icon(sign.icon, 14));
}
