/** The list under an editor: allowed values, or rows of a linked dataset found while typing. */

import type { Column, LinkOption } from './types';
import { element, setAttributes, uniqueId } from './dom';
import type { GridCore } from './grid';
import { placeBeside, toTopLayer } from './popover';

const DEBOUNCE_MS = 140;

/** An option of the list; `value` null empties the cell. */
interface Choice {
  value: string | null;
  option: LinkOption | null;
  node: HTMLElement;
}

export class Choices {
  private readonly core: GridCore;
  private readonly pick: (value: string | null) => void;
  private node: HTMLElement | null = null;
  private list = element('div');
  private note = element('div');
  private input: HTMLInputElement | null = null;
  private column: Column | null = null;
  private current: string | null = null;
  private anchor: () => DOMRect = () => new DOMRect();
  private choices: Choice[] = [];
  private at = -1;
  private term = '';
  private request: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(core: GridCore, pick: (value: string | null) => void) {
    this.core = core;
    this.pick = pick;
  }

  open(input: HTMLInputElement, column: Column, current: string | null, term: string, anchor: () => DOMRect): void {
    this.close();
    const id = uniqueId('sg-list');
    this.input = input;
    this.column = column;
    this.current = current;
    this.anchor = anchor;
    this.list = element('div', 'sg-options', { role: 'listbox', id, 'aria-label': column.title });
    this.note = element('div', 'sg-note', { role: 'status' });
    this.node = element('div', 'sg-popover sg-choices', null, this.list, this.note);
    // The keyboard stays in the editor's field.
    this.node.addEventListener('pointerdown', (event) => event.preventDefault());
    this.list.addEventListener('click', (event) => {
      const option = event.target instanceof Element ? event.target.closest('[role=option]') : null;
      const choice = this.choices.find((candidate) => candidate.node === option);
      if (choice) this.take(choice);
    });
    this.core.root.append(this.node);
    toTopLayer(this.node);
    setAttributes(input, {
      role: 'combobox',
      'aria-expanded': 'true',
      'aria-controls': id,
      'aria-autocomplete': 'list',
      'aria-haspopup': 'listbox',
    });
    this.find(term, 0);
  }

  search(term: string): void {
    this.find(term, DEBOUNCE_MS);
  }

  /** The value that Enter means; undefined when the cell stays as it is. */
  chosen(text: string, touched: boolean): string | null | undefined {
    const choice = this.choices[this.at];
    if (choice) {
      this.remember(choice);
      return choice.value;
    }
    if (!touched) return undefined;
    const typed = text.trim();
    if (typed === '') return null;
    const lower = typed.toLowerCase();
    // A list that is still being fetched belongs to an older term and must not decide.
    const settled = this.term === text && this.request === null && this.timer === undefined;
    const match = this.choices.find(
      (candidate) => candidate.value?.toLowerCase() === lower || candidate.option?.label?.toLowerCase() === lower,
    );
    const real = this.choices.filter((candidate) => candidate.value !== null);
    const single = settled && real.length === 1 ? real[0] : undefined;
    const found = match ?? single;
    if (found) this.remember(found);
    return found ? found.value : typed;
  }

  key(event: KeyboardEvent): boolean {
    const last = this.choices.length - 1;
    switch (event.key) {
      case 'ArrowDown':
        this.highlight(this.at >= last ? 0 : this.at + 1);
        return true;
      case 'ArrowUp':
        this.highlight(this.at <= 0 ? last : this.at - 1);
        return true;
      case 'PageDown':
        this.highlight(Math.min(last, this.at + 8));
        return true;
      case 'PageUp':
        this.highlight(Math.max(0, this.at - 8));
        return true;
      default:
        return false;
    }
  }

  place(): void {
    if (this.node) placeBeside(this.node, this.anchor());
  }

  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.request?.abort();
    this.request = null;
    this.node?.remove();
    this.node = null;
    this.choices = [];
    this.at = -1;
    if (!this.input) return;
    for (const name of ['role', 'aria-expanded', 'aria-controls', 'aria-autocomplete', 'aria-haspopup']) {
      this.input.removeAttribute(name);
    }
    this.input.removeAttribute('aria-activedescendant');
    this.input = null;
  }

  private find(term: string, delay_ms: number): void {
    const { column } = this;
    if (!column) return;
    this.term = term;
    if (!column.link) {
      const lower = term.trim().toLowerCase();
      const begins = (value: string): number => (value.toLowerCase().startsWith(lower) ? 0 : 1);
      const options = (column.allowed ?? [])
        .filter((value) => value.toLowerCase().includes(lower))
        .sort((a, b) => begins(a) - begins(b));
      this.fill(options.map((value) => ({ value, label: null, lookups: [] })));
      this.note.textContent = options.length ? '' : 'No such value is allowed';
      this.place();
      return;
    }
    clearTimeout(this.timer);
    // The answer to what was typed before must not come to stand under what is typed now.
    this.request?.abort();
    this.request = null;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.fetch(column, term);
    }, delay_ms);
    this.highlight(-1);
    this.note.textContent = 'Searching\u2026';
  }

  private async fetch(column: Column, term: string): Promise<void> {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    try {
      const { options, more } = await this.core.options.source.links(column.name, term.trim(), request.signal);
      if (request.signal.aborted || this.request !== request) return;
      this.request = null;
      this.fill(options);
      this.note.textContent = options.length === 0 ? 'Nothing found' : more ? 'There are more: type to narrow' : '';
    } catch (error) {
      if (request.signal.aborted || this.request !== request) return;
      this.request = null;
      this.fill([]);
      this.note.textContent = error instanceof Error ? error.message : String(error);
    }
    this.place();
  }

  private fill(options: LinkOption[]): void {
    const { column } = this;
    if (!column) return;
    this.choices = [];
    const lookups = column.link?.lookups ?? [];
    const rows: HTMLElement[] = [];
    if (!column.required && this.term === '' && this.current !== null) {
      this.choices.push({ value: null, option: null, node: optionNode([element('span', 'sg-faint', null, '(empty)')]) });
    }
    for (const option of options) {
      const cells = [element('span', 'sg-optlabel', { dir: 'auto' }, option.label ?? option.value)];
      if (column.link) {
        cells.push(element('span', 'sg-optvalue', null, option.label === null ? '' : option.value));
        for (const [at] of lookups.entries()) {
          cells.push(element('span', 'sg-optlookup', { dir: 'auto' }, option.lookups[at] ?? ''));
        }
      }
      const node = optionNode(cells);
      if (option.value === this.current) node.classList.add('sg-current');
      this.choices.push({ value: option.value, option, node });
    }
    rows.push(...this.choices.map((choice) => choice.node));
    this.list.replaceChildren(...rows);
    this.list.classList.toggle('sg-options-linked', column.link !== null);
    const current = this.choices.findIndex((choice) => choice.value === this.current && choice.value !== null);
    const first = this.choices.findIndex((choice) => choice.value !== null);
    this.highlight(this.term.trim() === '' ? current : first);
  }

  private highlight(at: number): void {
    this.choices[this.at]?.node.setAttribute('aria-selected', 'false');
    this.at = at;
    const node = this.choices[at]?.node;
    node?.setAttribute('aria-selected', 'true');
    node?.scrollIntoView({ block: 'nearest' });
    if (this.input) setAttributes(this.input, { 'aria-activedescendant': node?.id ?? null });
  }

  private take(choice: Choice): void {
    this.remember(choice);
    this.pick(choice.value);
  }

  /** Keeps the label of a chosen row, so that the cell can show it before the server answers. */
  private remember(choice: Choice): void {
    const { column } = this;
    if (!column?.link || !choice.option) return;
    const { value, label, lookups } = choice.option;
    this.core.pages.addLinks({ [column.name]: { [value]: { label, lookups } } });
  }
}

function optionNode(cells: HTMLElement[]): HTMLElement {
  return element('div', 'sg-option', { role: 'option', id: uniqueId('sg-option'), 'aria-selected': 'false' }, ...cells);
}
