/** The editor, and the input that has the keyboard all the time.
 *
 *  The focus stays in a text field lying over the active cell, unseen until somebody types. The first
 *  character, and an input method's first keystroke, therefore land where they belong. */

import { Calendar } from './calendar';
import { Choices } from './choices';
import type { ColumnView } from './columns';
import { element, setAttributes } from './dom';
import { isNumeric, nextBoolean, parseTyped } from './format';
import type { GridCore } from './grid';
import { seenEvent } from './pages';
import { HEADER_ROW } from './selection';
import type { Row } from './types';

interface Session {
  row: Row;
  rowIndex: number;
  view: ColumnView;
  /** The event that stood when editing began. */
  seen: number | null;
  /** What the editor showed first. */
  initial: string;
  /** Begun by typing over the cell; arrows then leave the cell as in a spreadsheet. */
  typed: boolean;
}

export type Leave = 'stay' | 'down' | 'up' | 'right' | 'left';

export class Editor {
  private readonly core: GridCore;
  private readonly box = element('div', 'sg-editor sg-idle');
  private readonly line = element('input', 'sg-field', { type: 'text', tabindex: -1, autocomplete: 'off', spellcheck: 'false' });
  private readonly area = element('textarea', 'sg-field', { rows: 1, tabindex: -1, autocomplete: 'off', spellcheck: 'false' });
  private readonly choices: Choices;
  private readonly calendar: Calendar;
  private session: Session | null = null;
  private column = -1;

  constructor(core: GridCore) {
    this.core = core;
    this.choices = new Choices(core, (value) => this.finish(value, 'stay'));
    this.calendar = new Calendar(core.root, (date) => this.pickDate(date));
    this.box.append(this.line, this.area);
    this.area.hidden = true;
    core.viewport.overlay.append(this.box);
    for (const field of [this.line, this.area] as HTMLElement[]) {
      field.addEventListener('input', this.typed);
      field.addEventListener('compositionstart', this.composing);
      field.addEventListener('blur', this.left);
    }
  }

  get editing(): boolean {
    return this.session !== null;
  }

  get editedKey(): string | null {
    return this.session?.row.key ?? null;
  }

  /** The field that has or will have the keyboard. */
  get field(): HTMLInputElement | HTMLTextAreaElement {
    return this.area.hidden ? this.line : this.area;
  }

  owns(target: EventTarget | null): boolean {
    return target === this.line || target === this.area;
  }

  focus(): void {
    this.field.focus({ preventScroll: true });
  }

  /** Takes the field to the active cell; called when that changes. */
  follow(): void {
    if (this.session) return;
    const { active } = this.core.selection;
    this.column = active.column;
    const view = this.core.columns.shown[active.column];
    const multiline = active.row !== HEADER_ROW && view !== undefined && isMultiline(view);
    const focused = this.owns(document.activeElement);
    if (multiline === this.area.hidden) {
      // Shown before it is focused and hidden only after: a hidden field cannot hold the focus.
      const next = multiline ? this.area : this.line;
      const former = multiline ? this.line : this.area;
      next.hidden = false;
      if (focused) next.focus({ preventScroll: true });
      former.hidden = true;
    }
    const numeric = view !== undefined && isNumeric(view.column.type) && !view.column.link;
    this.line.inputMode = numeric ? 'decimal' : 'text';
    this.place();
  }

  /** Opens the editor on the active cell: with `text` typed over it, or null for the present value. */
  start(text: string | null): void {
    const active = this.core.activeCell();
    if (this.session || !active) {
      this.field.value = '';
      return;
    }
    const { row, view, rowIndex } = active;
    const why = this.core.whyFixed(view, row);
    if (why !== null) {
      this.field.value = '';
      this.core.message('info', why);
      this.core.announce(why);
      return;
    }
    const { column } = view;
    const state = this.core.states.get(row.key, column.name);
    const value = state ? state.value : (row.cells[view.index] ?? null);
    if (column.type === 'boolean' && (value === null || value === 'true' || value === 'false')) {
      this.field.value = '';
      this.typeBoolean(row, view, value, text);
      return;
    }
    const label = column.link ? this.core.pages.label(column.name, value)?.label : null;
    const initial = label ?? value ?? '';
    this.session = { row, rowIndex, view, seen: seenEvent(row, column.name), initial, typed: text !== null };
    if (text === null) this.field.value = initial;
    this.box.className = `sg-editor${isNumeric(column.type) && !column.link ? ' sg-number' : ''}`;
    this.field.setAttribute('dir', column.type === 'text' ? 'auto' : 'ltr');
    this.describe();
    this.core.viewport.reveal(rowIndex, this.column);
    this.place();
    this.focus();
    if (text === null) {
      const end = this.field.value.length;
      this.field.setSelectionRange(isChoice(view) ? 0 : end, end);
    }
    const anchor = (): DOMRect => this.box.getBoundingClientRect();
    if (isChoice(view)) this.choices.open(this.line, column, value, text ?? '', anchor);
    else if (column.type === 'date') this.calendar.open(this.field.value, anchor);
    this.core.card.hide();
    this.core.activeChanged();
  }

  /** Closes the editor and sends what it holds. */
  commit(leave: Leave): void {
    const { session } = this;
    if (!session) return;
    const { column } = session.view;
    const text = this.field.value;
    const touched = session.typed || text !== session.initial;
    const held = this.core.states.get(session.row.key, column.name);
    if (isChoice(session.view)) {
      const chosen = this.choices.chosen(text, touched);
      if (chosen === undefined) return this.close(leave);
      return this.finish(chosen, leave);
    }
    if (!touched && (!held || held.kind === 'pending')) return this.close(leave);
    this.finish(parseTyped(text, column, this.core.separators), leave);
  }

  cancel(): void {
    this.close('stay');
  }

  /** Keys while editing. Returns true for those it has used. */
  key(event: KeyboardEvent): boolean {
    const { session } = this;
    if (!session || event.isComposing) return false;
    const multiline = isMultiline(session.view);
    const choice = isChoice(session.view);
    if (choice && this.choices.key(event)) return true;
    switch (event.key) {
      case 'Enter':
        if (multiline && (event.altKey || event.shiftKey)) {
          this.insert('\n');
          return true;
        }
        this.commit(event.ctrlKey || event.metaKey ? 'stay' : event.shiftKey ? 'up' : 'down');
        return true;
      case 'Tab':
        this.commit(event.shiftKey ? 'left' : 'right');
        return true;
      case 'Escape':
        this.cancel();
        return true;
      case 'ArrowUp':
      case 'ArrowDown':
      case 'PageUp':
      case 'PageDown':
        if (session.view.column.type === 'date' && !choice) {
          this.field.value = this.calendar.step(this.field.value, event.key);
          return true;
        }
        if (!session.typed || multiline || choice || event.key.startsWith('Page')) return false;
        this.commit(event.key === 'ArrowUp' ? 'up' : 'down');
        return true;
      default:
        return false;
    }
  }

  /** Puts the editor over its cell; called for every painted frame. */
  place(): void {
    const { viewport, columns, selection, pages } = this.core;
    const { session } = this;
    let row = selection.active.row;
    let place = this.column;
    if (session) {
      // A refresh may have moved the row; the editor goes along with it.
      const now = pages.indexOf(session.row.key);
      if (now >= 0) session.rowIndex = now;
      row = session.rowIndex;
      place = columns.place(session.view.column.name);
    }
    const rect = viewport.rectOf(row, place);
    const { style } = this.box;
    if (!rect) {
      style.transform = 'translate(0px,0px)';
      this.box.classList.toggle('sg-away', session !== null);
      return;
    }
    this.box.classList.remove('sg-away');
    let { width, height } = rect;
    if (session) {
      const choice = isChoice(session.view);
      if (isMultiline(session.view)) {
        width = Math.max(width, 300);
        const lines = this.field.value.split('\n').length + Math.floor(this.field.value.length / 44);
        height = Math.min(Math.max(4, lines + 1) * 20 + 10, Math.max(90, viewport.height - 8));
      } else if (!choice) {
        width = Math.max(width, Math.min(this.field.value.length * 8 + 24, viewport.width - 16));
      } else {
        width = Math.max(width, 160);
      }
      width = Math.min(width, viewport.width - 4);
    }
    const left = session ? Math.max(0, Math.min(rect.left, viewport.width - width)) : rect.left;
    const top = session ? Math.max(0, Math.min(rect.top, viewport.height - height)) : rect.top;
    style.transform = `translate(${left}px,${top}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    if (session) {
      this.choices.place();
      this.calendar.place();
    }
  }

  /** Tells assistive technology which cell has the keyboard. */
  point(id: string | null): void {
    for (const field of [this.line, this.area]) {
      if (this.session) continue;
      setAttributes(field, { 'aria-activedescendant': id, 'aria-label': this.core.options.label });
    }
  }

  destroy(): void {
    this.choices.close();
    this.calendar.close();
  }

  private finish(value: string | null, leave: Leave): void {
    const { session } = this;
    if (!session) return;
    this.close(leave);
    const row = this.core.pages.byKey(session.row.key) ?? session.row;
    const change = { row, column: session.view.column.name, value, seen: session.seen };
    void this.core.edits.update([change], 'grid', 'Edit');
  }

  private close(leave: Leave): void {
    if (!this.session) return;
    this.session = null;
    this.choices.close();
    this.calendar.close();
    this.box.className = 'sg-editor sg-idle';
    this.field.value = '';
    this.describe();
    if (leave === 'down') this.core.moveActive(1, 0);
    else if (leave === 'up') this.core.moveActive(-1, 0);
    else if (leave === 'right') this.core.moveActive(0, 1);
    else if (leave === 'left') this.core.moveActive(0, -1);
    this.follow();
    this.core.activeChanged();
    this.core.repaint();
  }

  private describe(): void {
    const { session } = this;
    const column = session?.view.column;
    const label = column && session ? `${column.title}, row ${session.rowIndex + 1}` : this.core.options.label;
    for (const field of [this.line, this.area]) {
      field.setAttribute('aria-label', label);
      if (session) field.removeAttribute('aria-activedescendant');
    }
  }

  private typeBoolean(row: Row, view: ColumnView, value: string | null, text: string | null): void {
    const { column } = view;
    const typed = text === null ? undefined : parseTyped(text, column, this.core.separators);
    const next = text === null ? nextBoolean(value, column.required) : typed;
    if (next !== 'true' && next !== 'false' && next !== null) return;
    void this.core.edits.update([{ row, column: column.name, value: next }], 'grid', 'Edit');
  }

  private pickDate(date: string): void {
    this.field.value = date;
    this.commit('stay');
  }

  private insert(text: string): void {
    const { field } = this;
    field.setRangeText(text, field.selectionStart ?? 0, field.selectionEnd ?? 0, 'end');
    this.place();
  }

  private readonly typed = (): void => {
    if (!this.session) {
      if (this.field.value !== '') this.start(this.field.value);
      return;
    }
    if (isChoice(this.session.view)) this.choices.search(this.field.value);
    else if (this.session.view.column.type === 'date') this.calendar.show(this.field.value);
    this.place();
  };

  private readonly composing = (): void => {
    if (!this.session) this.start('');
  };

  private readonly left = (event: FocusEvent): void => {
    // The browser window lost the focus, not the cell.
    if (!this.session || !document.hasFocus()) return;
    if (event.relatedTarget instanceof Node && this.core.root.contains(event.relatedTarget)) {
      if (this.owns(event.relatedTarget)) return;
    }
    this.commit('stay');
  };
}

function isMultiline(view: ColumnView): boolean {
  const { column } = view;
  return (column.multiline || column.comments) && column.type === 'text' && !isChoice(view);
}

function isChoice(view: ColumnView): boolean {
  return view.column.link !== null || view.column.allowed !== null;
}
