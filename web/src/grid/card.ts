/** The card beside a draft: why the value is not saved, and what can be done. It never takes the focus by itself. */

import { button, element, sentence } from './dom';
import type { CellState } from './drafts';
import { describeValue, formatWhen } from './format';
import type { GridCore } from './grid';
import { icon } from './icons';
import { placeAtSide, toTopLayer } from './popover';

export class Card {
  private readonly core: GridCore;
  private node: HTMLElement | null = null;
  private shown: CellState | null = null;
  private shownKind = '';
  private offered: CellState | null = null;

  constructor(core: GridCore) {
    this.core = core;
  }

  /** Shows the card of a draft although the active cell has moved on. */
  offer(state: CellState): void {
    this.offered = state;
    this.core.repaint();
  }

  /** Closes a card that was only offered; true when there was one. */
  dismiss(): boolean {
    const had = this.offered !== null && this.shown === this.offered;
    this.offered = null;
    this.update();
    return had;
  }

  hide(): void {
    this.offered = null;
    this.remove();
  }

  /** Takes the keyboard into the card. */
  focus(): boolean {
    const first = this.node?.querySelector('button');
    first?.focus();
    return first !== undefined && first !== null;
  }

  /** Shows the right card at the right place; called for every painted frame. */
  update(): void {
    const { core } = this;
    const active = core.activeCell();
    const own = active ? core.states.get(active.row.key, active.view.column.name) : undefined;
    if (this.offered && core.states.get(this.offered.key, this.offered.column) !== this.offered) this.offered = null;
    const state = own && own.kind !== 'pending' ? own : this.offered;
    const inside = core.root.contains(document.activeElement);
    if (!state || state.kind === 'pending' || !inside || core.editor.editing || core.popover.isOpen) {
      this.remove();
      return;
    }
    const rect = core.cellRect(state.key, state.column);
    if (!rect) {
      this.remove();
      return;
    }
    if (this.shown !== state || this.shownKind !== state.kind || !this.node) this.build(state);
    if (this.node) placeAtSide(this.node, rect);
  }

  private build(state: CellState): void {
    this.remove();
    this.shown = state;
    this.shownKind = state.kind;
    const content = state.kind === 'conflict' ? this.conflict(state) : this.plain(state);
    const title = this.core.columns.get(state.column)?.column.title ?? state.column;
    const node = element('div', `sg-popover sg-card sg-card-${state.kind}`, { role: 'dialog', 'aria-label': `Draft in ${title}` }, ...content);
    node.addEventListener('keydown', (event) => {
      event.stopPropagation();
      if (event.key !== 'Escape') return;
      event.preventDefault();
      this.core.focus();
    });
    this.node = node;
    this.core.root.append(node);
    toTopLayer(node);
  }

  private plain(state: CellState): HTMLElement[] {
    const offline = state.kind === 'offline';
    const edit = button('Edit again', 'sg-button sg-primary', () => {
      this.core.goTo(state.key, state.column);
      this.core.editor.start(null);
    });
    const again = button('Send again', 'sg-button sg-primary', () => {
      this.core.focus();
      void this.core.edits.retry();
    });
    return [
      heading(offline ? 'offline' : 'warning', offline ? 'Not sent yet' : 'Not saved'),
      element('p', 'sg-cardtext', null, ...sentence(state.message)),
      element('div', 'sg-actions', null, this.discard(state, 'Discard'), offline ? again : edit),
    ];
  }

  private conflict(state: CellState): HTMLElement[] {
    const { current } = state;
    const column = this.core.columns.get(state.column)?.column ?? null;
    const say = (value: string | null): string => {
      const label = this.core.pages.label(state.column, value)?.label;
      const text = describeValue(value, column, this.core.separators);
      return label ? `${label} (${text})` : text;
    };
    const versions = element('dl', 'sg-versions');
    const add = (who: string, when: string, value: string | null): void => {
      const name = element('dt', '', null, element('strong', '', null, who), when ? ` ${when}` : '');
      versions.append(name, element('dd', value === null ? 'sg-faint' : '', { dir: 'auto' }, say(value)));
    };
    if (current) add(current.user, formatWhen(current.date), current.value);
    add('You', 'not saved', state.value);
    const keep = button('Keep mine', 'sg-button sg-primary', () => {
      this.core.focus();
      void this.core.edits.keepMine(state);
    });
    return [
      heading('conflict', 'Changed by somebody else'),
      versions,
      element('div', 'sg-actions', null, this.discard(state, 'Take theirs'), keep),
    ];
  }

  private discard(state: CellState, label: string): HTMLButtonElement {
    return button(label, 'sg-button', () => {
      this.core.edits.discard(state);
      this.core.focus();
    });
  }

  private remove(): void {
    const node = this.node;
    this.node = null;
    this.shown = null;
    if (!node) return;
    const focused = node.contains(document.activeElement);
    node.remove();
    if (focused) this.core.focus();
  }
}

function heading(name: 'warning' | 'offline' | 'conflict', text: string): HTMLElement {
  const node = element('div', 'sg-cardtitle', null, text);
  node.prepend(icon(name));
  return node;
}
