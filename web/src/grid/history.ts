/** The story of one cell: who, when, from what to what, and the original underneath. */

import { button, element } from './dom';
import { describeValue, formatWhen } from './format';
import type { GridCore } from './grid';
import { icon } from './icons';
import { standingEdit } from './pages';
import type { Column, HistoryEvent } from './types';

export class History {
  private readonly core: GridCore;
  private opened = 0;

  constructor(core: GridCore) {
    this.core = core;
  }

  /** Opens the history of the active cell. */
  open(): void {
    const { core } = this;
    const active = core.activeCell();
    if (!active) return;
    const { row, view } = active;
    const { column } = view;
    this.opened += 1;
    const ticket = this.opened;
    const body = element('div', 'sg-historybody', { 'aria-live': 'polite' }, element('p', 'sg-faint', null, 'Loading\u2026'));
    const close = button('', 'sg-headbutton', () => core.popover.close());
    close.setAttribute('aria-label', 'Close');
    close.append(icon('close', 14));
    const title = element('div', 'sg-poptitle', null, element('span', '', null, `History of ${column.title}`), close);
    const revert = button('Revert to original', 'sg-button', () => {
      core.popover.close();
      void core.edits.revert(core.pages.byKey(row.key) ?? row, column.name);
    });
    revert.prepend(icon('revert', 14));
    const actions = element('div', 'sg-actions');
    if (standingEdit(row, column.name) && core.whyFixed(view, row) === null) actions.append(revert);
    core.popover.show({
      anchor: () => core.cellRect(row.key, column.name),
      label: `History of ${column.title}`,
      role: 'dialog',
      className: 'sg-history',
      content: element('div', 'sg-form', null, title, body, actions),
      focus: actions.hasChildNodes() ? revert : close,
    });
    void this.fill(body, row.key, column, ticket);
  }

  private async fill(body: HTMLElement, key: string, column: Column, ticket: number): Promise<void> {
    try {
      const { original, events } = await this.core.options.source.history(key, column.name);
      if (ticket !== this.opened) return;
      const list = element('ol', 'sg-events');
      for (const event of events) list.append(this.item(event, column));
      list.append(
        element(
          'li',
          'sg-event sg-origin',
          null,
          element('div', 'sg-eventhead', null, element('strong', '', null, 'Original value')),
          element('div', 'sg-eventvalue', null, this.value(original, column)),
        ),
      );
      body.replaceChildren(list);
      if (events.length === 0) body.prepend(element('p', 'sg-faint', null, 'Nobody has edited this cell.'));
    } catch (error) {
      if (ticket !== this.opened) return;
      const message = error instanceof Error ? error.message : String(error);
      const again = button('Try again', 'sg-button', () => void this.fill(body, key, column, ticket));
      body.replaceChildren(element('p', 'sg-error', null, `The history could not be loaded: ${message}`), again);
    }
    this.core.popover.place();
  }

  private item(event: HistoryEvent, column: Column): HTMLElement {
    const when = element('time', 'sg-when', { datetime: event.date, title: event.date }, formatWhen(event.date));
    const source = event.source && event.source !== 'grid' ? ` by ${event.source}` : '';
    // A tick of the validation column logs the whole row, also what it left as it was.
    const confirmed = event.action === 'update' && event.previous === event.value;
    const what = `${confirmed ? 'confirmed' : (actionNames[event.action] ?? event.action)}${source}`;
    const head = element('div', 'sg-eventhead', null, element('strong', '', null, event.user), ` ${what} `, when);
    const item = element('li', `sg-event sg-event-${event.action}`, null, head);
    if (event.action === 'update' || event.action === 'create') {
      const arrow = element('span', 'sg-arrow', { 'aria-label': 'to' }, ' \u2192 ');
      const from = element('span', 'sg-from', { dir: 'auto' }, this.value(event.previous, column));
      const to = element('span', 'sg-to', { dir: 'auto' }, this.value(event.value, column));
      item.append(element('div', 'sg-eventvalue', null, ...(event.action === 'update' && !confirmed ? [from, arrow, to] : [to])));
    }
    if (event.reason) item.append(element('div', 'sg-reason', { dir: 'auto' }, event.reason));
    return item;
  }

  private value(value: string | null, column: Column): HTMLElement {
    const text = describeValue(value, column, this.core.separators);
    const label = this.core.pages.label(column.name, value)?.label;
    if (value === null || value === '') return element('span', 'sg-faint', null, text);
    return element('span', '', null, label ? `${label} (${value})` : text);
  }
}

const actionNames: Record<string, string> = {
  update: 'edited',
  revert: 'reverted to the original',
  create: 'added the row',
  delete: 'deleted the row',
};
