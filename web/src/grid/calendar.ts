/** A small calendar under a date editor. Typing always works; this is for the eye and the mouse. */

import { button, element } from './dom';
import { isoDate, parseDate } from './format';
import { icon } from './icons';
import { placeBeside, toTopLayer } from './popover';

export class Calendar {
  private readonly root: HTMLElement;
  private readonly pick: (date: string) => void;
  private node: HTMLElement | null = null;
  private anchor: () => DOMRect = () => new DOMRect();
  private year = 2000;
  private month = 1;
  private chosen: string | null = null;

  constructor(root: HTMLElement, pick: (date: string) => void) {
    this.root = root;
    this.pick = pick;
  }

  open(text: string, anchor: () => DOMRect): void {
    this.close();
    this.anchor = anchor;
    this.node = element('div', 'sg-popover sg-calendar', { role: 'group', 'aria-label': 'Calendar' });
    this.node.addEventListener('pointerdown', (event) => event.preventDefault());
    this.root.append(this.node);
    toTopLayer(this.node);
    const [year, month] = parts(parseDate(text.trim()) ?? today());
    this.year = year;
    this.month = month;
    this.show(text);
    this.place();
  }

  /** Shows the month of what is typed, as soon as it is a date. */
  show(text: string): void {
    this.chosen = parseDate(text.trim());
    if (this.chosen) [this.year, this.month] = parts(this.chosen);
    this.draw();
  }

  /** The date one day or month away, for the arrow and page keys. */
  step(text: string, key: string): string {
    const [year, month, day] = parts(parseDate(text.trim()) ?? today());
    let next: string | null;
    if (key === 'PageUp' || key === 'PageDown') {
      const date = new Date(Date.UTC(year, month - 1 + (key === 'PageUp' ? -1 : 1), 1));
      const days = daysIn(date.getUTCFullYear(), date.getUTCMonth() + 1);
      next = isoDate(date.getUTCFullYear(), date.getUTCMonth() + 1, Math.min(day, days));
    } else {
      const date = new Date(Date.UTC(year, month - 1, day + (key === 'ArrowUp' ? 1 : -1)));
      next = isoDate(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate());
    }
    const result = next ?? text;
    this.show(result);
    return result;
  }

  place(): void {
    if (this.node) placeBeside(this.node, this.anchor());
  }

  close(): void {
    this.node?.remove();
    this.node = null;
  }

  private draw(): void {
    const { node, year, month } = this;
    if (!node) return;
    const first = new Date(Date.UTC(year, month - 1, 1));
    const name = first.toLocaleDateString(undefined, { month: 'long', year: 'numeric', timeZone: 'UTC' });
    const turn = (label: string, by: number, shape: 'left' | 'right'): HTMLButtonElement => {
      const turner = button('', 'sg-headbutton', () => {
        const date = new Date(Date.UTC(this.year, this.month - 1 + by, 1));
        this.year = date.getUTCFullYear();
        this.month = date.getUTCMonth() + 1;
        this.draw();
      });
      turner.tabIndex = -1;
      turner.setAttribute('aria-label', label);
      turner.append(icon(shape));
      return turner;
    };
    const head = element('div', 'sg-calhead', null, turn('Previous month', -1, 'left'), element('span', '', null, name), turn('Next month', 1, 'right'));
    const grid = element('div', 'sg-caldays');
    // 1 January 2024 was a Monday.
    for (let day = 1; day <= 7; day += 1) {
      const weekday = new Date(Date.UTC(2024, 0, day)).toLocaleDateString(undefined, { weekday: 'narrow', timeZone: 'UTC' });
      grid.append(element('span', 'sg-weekday', { 'aria-hidden': 'true' }, weekday));
    }
    const blanks = (first.getUTCDay() + 6) % 7;
    for (let at = 0; at < blanks; at += 1) grid.append(element('span'));
    for (let day = 1; day <= daysIn(year, month); day += 1) {
      const date = isoDate(year, month, day) ?? '';
      const cell = button(String(day), 'sg-calday', () => this.pick(date));
      cell.tabIndex = -1;
      cell.setAttribute('aria-label', spokenDay.format(new Date(Date.UTC(year, month - 1, day))));
      if (date === this.chosen) cell.setAttribute('aria-pressed', 'true');
      if (date === today()) cell.classList.add('sg-today');
      grid.append(cell);
    }
    node.replaceChildren(head, grid);
  }
}

/** The name of a day's button; it holds the number that the button shows. */
const spokenDay = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' });

function parts(date: string): [number, number, number] {
  const [year, month, day] = date.split('-').map(Number);
  return [year ?? 2000, month ?? 1, day ?? 1];
}

function daysIn(year: number, month: number): number {
  return new Date(Date.UTC(year, month, 0)).getUTCDate();
}

function today(): string {
  const now = new Date();
  return isoDate(now.getFullYear(), now.getMonth() + 1, now.getDate()) ?? '2000-01-01';
}
