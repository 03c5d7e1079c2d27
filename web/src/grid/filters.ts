/** Filters by type: the form that opens under a header, and the chips that show what is set. */

import { button, element, uniqueId } from './dom';
import { parseTyped } from './format';
import type { GridCore } from './grid';
import { icon } from './icons';
import type { Column, Filter, FilterOp } from './types';

const opNames: Record<FilterOp, string> = {
  contains: 'contains',
  not_contains: 'does not contain',
  equals: 'equals',
  not_equals: 'does not equal',
  starts_with: 'starts with',
  ends_with: 'ends with',
  between: 'is between',
  blank: 'is blank',
  not_blank: 'is not blank',
  in: 'is one of',
};

/** The comparisons that make sense for a column, the most useful one first. */
export function opsOf(column: Column): FilterOp[] {
  if (column.allowed) return ['in', 'blank', 'not_blank', 'contains'];
  switch (column.type) {
    case 'boolean':
      return ['equals', 'blank'];
    case 'integer':
    case 'number':
      if (column.link) break;
      return ['between', 'equals', 'not_equals', 'blank', 'not_blank'];
    case 'date':
    case 'datetime':
      return ['between', 'equals', 'not_equals', 'blank', 'not_blank'];
    case 'other':
      return ['contains', 'not_contains', 'blank', 'not_blank'];
    case 'text':
      break;
  }
  return ['contains', 'not_contains', 'equals', 'not_equals', 'starts_with', 'ends_with', 'blank', 'not_blank'];
}

/** A filter in words, for its chip. */
export function describeFilter(filter: Filter, column: Column | undefined): string {
  const title = column?.title ?? filter.column;
  const say = (value: string | undefined): string =>
    column?.type === 'boolean' ? (value === 'true' ? 'yes' : 'no') : `\u201c${value ?? ''}\u201d`;
  switch (filter.op) {
    case 'blank':
    case 'not_blank':
      return `${title} ${opNames[filter.op]}`;
    case 'between':
      if (filter.from === undefined) return `${title} \u2264 ${filter.to ?? ''}`;
      if (filter.to === undefined) return `${title} \u2265 ${filter.from}`;
      return `${title} ${filter.from} \u2013 ${filter.to}`;
    case 'in': {
      const values = filter.values ?? [];
      const shown = values.slice(0, 3).map(say).join(', ');
      return `${title}: ${shown}${values.length > 3 ? ` and ${values.length - 3} more` : ''}`;
    }
    default:
      if (column?.type === 'boolean') return `${title}: ${say(filter.value)}`;
      return `${title} ${opNames[filter.op]} ${say(filter.value)}`;
  }
}

export class Filters {
  readonly chips = element('div', 'sg-chips', { role: 'group', 'aria-label': 'Filters' });
  private readonly core: GridCore;

  constructor(core: GridCore) {
    this.core = core;
    this.chips.hidden = true;
  }

  open(column: Column, anchor: () => DOMRect): void {
    const present = this.core.query.filters.find((filter) => filter.column === column.name);
    const form = column.type === 'boolean' ? this.booleanForm(column, present) : this.form(column, present);
    this.core.popover.show({
      anchor,
      label: `Filter ${column.title}`,
      role: 'dialog',
      className: 'sg-filterform',
      content: form.node,
      focus: form.focus(),
    });
    this.core.popover.place();
    form.focus()?.focus();
  }

  set(column: string, filter: Filter | null): void {
    const { query } = this.core;
    const filters = query.filters.filter((other) => other.column !== column);
    if (filter) filters.push(filter);
    this.core.changeQuery({ ...query, filters });
  }

  clear(): void {
    this.core.changeQuery({ ...this.core.query, filters: [], states: [] });
  }

  update(): void {
    const { query, columns } = this.core;
    this.chips.hidden = query.filters.length === 0;
    this.chips.replaceChildren(
      ...query.filters.map((filter) => {
        const column = columns.get(filter.column)?.column;
        const text = describeFilter(filter, column);
        const open = button(text, 'sg-chiptext', () => {
          if (column) this.open(column, () => open.getBoundingClientRect());
        });
        const remove = button('', 'sg-chipclose', () => {
          this.set(filter.column, null);
          this.core.focus();
        });
        remove.setAttribute('aria-label', `Remove filter: ${text}`);
        remove.append(icon('close', 12));
        return element('span', 'sg-chip', null, open, remove);
      }),
    );
    if (query.filters.length > 1) {
      this.chips.append(button('Clear all', 'sg-linkbutton', () => this.clear()));
    }
  }

  private heading(column: Column): HTMLElement {
    return element('div', 'sg-poptitle', null, column.title);
  }

  private booleanForm(column: Column, present: Filter | undefined): { node: HTMLElement; focus: () => HTMLElement | null } {
    const chosen = !present ? 'any' : present.op === 'blank' ? 'blank' : (present.value ?? 'any');
    const group = element('div', 'sg-radios', { role: 'radiogroup', 'aria-label': column.title });
    const name = uniqueId('sg-radio');
    let focus: HTMLElement | null = null;
    for (const [value, text] of [
      ['any', 'Any'],
      ['true', 'Yes'],
      ['false', 'No'],
      ['blank', 'Blank'],
    ] as const) {
      const input = element('input', '', { type: 'radio', name, value });
      input.checked = value === chosen;
      if (input.checked) focus = input;
      input.addEventListener('change', () => {
        if (value === 'any') this.set(column.name, null);
        else if (value === 'blank') this.set(column.name, { column: column.name, op: 'blank' });
        else this.set(column.name, { column: column.name, op: 'equals', value });
      });
      group.append(element('label', 'sg-radio', null, input, text));
    }
    const done = button('Done', 'sg-button sg-primary', () => this.core.popover.close());
    const node = element('div', 'sg-form', null, this.heading(column), group, element('div', 'sg-actions', null, done));
    node.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.core.popover.close();
    });
    return { node, focus: () => focus };
  }

  private form(column: Column, present: Filter | undefined): { node: HTMLElement; focus: () => HTMLElement | null } {
    const ops = opsOf(column);
    const select = element('select', 'sg-input', { 'aria-label': 'Comparison' });
    for (const op of ops) select.append(element('option', '', { value: op }, opNames[op]));
    if (present && ops.includes(present.op)) select.value = present.op;
    const fields = element('div', 'sg-fields');
    const input = (label: string, value: string | undefined): HTMLInputElement => {
      const node = element('input', 'sg-input', { type: 'text', 'aria-label': label, placeholder: label, autocomplete: 'off' });
      node.value = value ?? '';
      fields.append(node);
      return node;
    };
    let read: () => Filter | null = () => null;
    let first: HTMLElement | null = null;
    const parse = (node: HTMLInputElement): string => parseTyped(node.value, column, this.core.separators) ?? '';
    const build = (): void => {
      fields.replaceChildren();
      const op = select.value as FilterOp;
      const same = present?.op === op ? present : undefined;
      if (op === 'between') {
        const from = input(column.type === 'date' ? 'from (yyyy-mm-dd)' : 'from', same?.from);
        const to = input(column.type === 'date' ? 'to (yyyy-mm-dd)' : 'to', same?.to);
        first = from;
        read = () => {
          const filter: Filter = { column: column.name, op };
          if (parse(from)) filter.from = parse(from);
          if (parse(to)) filter.to = parse(to);
          return filter.from === undefined && filter.to === undefined ? null : filter;
        };
      } else if (op === 'in') {
        const boxes = (column.allowed ?? []).map((value) => {
          const box = element('input', '', { type: 'checkbox', value });
          box.checked = same?.values?.includes(value) ?? false;
          fields.append(element('label', 'sg-radio', { dir: 'auto' }, box, value));
          return box;
        });
        first = boxes[0] ?? null;
        read = () => {
          const values = boxes.filter((box) => box.checked).map((box) => box.value);
          return values.length ? { column: column.name, op, values } : null;
        };
      } else if (op === 'blank' || op === 'not_blank') {
        first = select;
        read = () => ({ column: column.name, op });
      } else {
        const value = input('value', same?.value ?? present?.value);
        first = value;
        read = () => (value.value === '' ? null : { column: column.name, op, value: parse(value) });
      }
    };
    build();
    select.addEventListener('change', build);
    const apply = (): void => {
      this.core.popover.close();
      this.set(column.name, read());
    };
    const clear = button('Clear', 'sg-button', () => {
      this.core.popover.close();
      this.set(column.name, null);
    });
    clear.disabled = !present;
    const node = element(
      'form',
      'sg-form',
      null,
      this.heading(column),
      select,
      fields,
      element('div', 'sg-actions', null, clear, element('button', 'sg-button sg-primary', { type: 'submit' }, 'Apply')),
    );
    node.addEventListener('submit', (event) => {
      event.preventDefault();
      apply();
    });
    return { node, focus: () => first };
  }
}
