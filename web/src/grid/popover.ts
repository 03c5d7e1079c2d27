/** One pop-up at a time, beside a cell or a header: filter forms, menus, history. */

import { element } from './dom';

export interface PopoverOptions {
  /** What the pop-up belongs to; a function, since cells are recycled. */
  anchor: () => DOMRect | null;
  label: string;
  role: 'dialog' | 'menu';
  className: string;
  content: HTMLElement;
  /** Element to focus first; null leaves the focus where it is. */
  focus: HTMLElement | null;
  closed?: () => void;
}

export class Popover {
  private readonly root: HTMLElement;
  private readonly refocus: () => void;
  private open: { node: HTMLElement; options: PopoverOptions } | null = null;

  constructor(root: HTMLElement, refocus: () => void) {
    this.root = root;
    this.refocus = refocus;
    document.addEventListener('pointerdown', this.pressedOutside, true);
  }

  get isOpen(): boolean {
    return this.open !== null;
  }

  show(options: PopoverOptions): HTMLElement {
    this.close(false);
    const node = element(
      'div',
      `sg-popover ${options.className}`,
      { role: options.role, 'aria-label': options.label, tabindex: -1 },
      options.content,
    );
    this.root.append(node);
    toTopLayer(node);
    this.open = { node, options };
    node.addEventListener('keydown', this.keyed);
    this.place();
    (options.focus ?? node).focus({ preventScroll: true });
    return node;
  }

  /** Puts the pop-up beside its anchor again, after its content has grown or rows have moved. */
  place(): void {
    if (!this.open) return;
    const anchor = this.open.options.anchor();
    if (anchor) placeBeside(this.open.node, anchor);
  }

  close(refocus = true): void {
    const open = this.open;
    if (!open) return;
    this.open = null;
    open.node.remove();
    open.options.closed?.();
    if (refocus) this.refocus();
  }

  destroy(): void {
    document.removeEventListener('pointerdown', this.pressedOutside, true);
    this.close(false);
  }

  private readonly keyed = (event: KeyboardEvent): void => {
    event.stopPropagation();
    if (event.key === 'Escape' || (event.key === 'Tab' && this.open?.options.role === 'menu')) {
      event.preventDefault();
      this.close();
    } else if (event.key === 'Tab' && this.open) {
      this.cycleFocus(event, this.open.node);
    }
  };

  private cycleFocus(event: KeyboardEvent, node: HTMLElement): void {
    const stops = [...node.querySelectorAll<HTMLElement>('button, input, select, textarea, [tabindex="0"]')].filter(
      (stop) => stop.tabIndex >= 0 && stop.getClientRects().length > 0 && !(stop as HTMLButtonElement).disabled,
    );
    const first = stops[0];
    const last = stops[stops.length - 1];
    if (!first || !last) return;
    const at = document.activeElement;
    if (event.shiftKey && (at === first || at === node)) {
      event.preventDefault();
      last.focus();
    } else if (!event.shiftKey && at === last) {
      event.preventDefault();
      first.focus();
    }
  }

  private readonly pressedOutside = (event: PointerEvent): void => {
    if (!this.open || (event.target instanceof Node && this.open.node.contains(event.target))) return;
    const inGrid = event.target instanceof Node && this.root.contains(event.target);
    this.close(inGrid);
  };
}

/** The top layer is clipped by nothing; without it `position: fixed` has to do. */
export function toTopLayer(node: HTMLElement): void {
  if (typeof node.showPopover !== 'function') return;
  node.popover = 'manual';
  node.showPopover();
}

/** Below the anchor, or above it when there is more room; always inside the window. */
export function placeBeside(node: HTMLElement, anchor: DOMRect): void {
  const gap = 4;
  const margin = 8;
  const below = innerHeight - anchor.bottom - gap - margin;
  const above = anchor.top - gap - margin;
  node.style.maxHeight = `${Math.max(120, Math.max(below, above))}px`;
  const { offsetWidth: width, offsetHeight: height } = node;
  const top = height <= below || below >= above ? anchor.bottom + gap : anchor.top - gap - height;
  node.style.left = `${Math.max(margin, Math.min(anchor.left, innerWidth - width - margin))}px`;
  node.style.top = `${Math.max(margin, Math.min(top, innerHeight - height - margin))}px`;
}

/** At the right or left of the anchor, so that the rows above and below stay in sight. */
export function placeAtSide(node: HTMLElement, anchor: DOMRect): void {
  const gap = 6;
  const margin = 8;
  const { offsetWidth: width, offsetHeight: height } = node;
  const right = anchor.right + gap;
  const left = right + width + margin <= innerWidth ? right : Math.max(margin, anchor.left - gap - width);
  node.style.left = `${left}px`;
  node.style.top = `${Math.max(margin, Math.min(anchor.top, innerHeight - height - margin))}px`;
}

export interface MenuItem {
  label: string;
  hint?: string;
  disabled?: boolean;
  checked?: boolean;
  separated?: boolean;
  run: () => void;
}

/** A menu whose items are reached by arrows and first letters. */
export function menuContent(items: MenuItem[], close: () => void): HTMLElement {
  const menu = element('div', 'sg-menu', { role: 'none' });
  const buttons = items.map((item) => {
    const node = element('button', 'sg-menuitem', {
      type: 'button',
      role: item.checked === undefined ? 'menuitem' : 'menuitemcheckbox',
      'aria-checked': item.checked === undefined ? null : item.checked ? 'true' : 'false',
      'aria-disabled': item.disabled ? 'true' : null,
      tabindex: -1,
    });
    node.append(element('span', 'sg-menulabel', null, item.label));
    if (item.hint) node.append(element('span', 'sg-menuhint', { 'aria-hidden': 'true' }, item.hint));
    if (item.separated) node.classList.add('sg-separated');
    node.addEventListener('click', () => {
      if (item.disabled) return;
      close();
      item.run();
    });
    return node;
  });
  menu.append(...buttons);
  menu.addEventListener('keydown', (event) => {
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const size = buttons.length;
    let next = -1;
    if (event.key === 'ArrowDown') next = (at + 1) % size;
    else if (event.key === 'ArrowUp') next = (at - 1 + size) % size;
    else if (event.key === 'Home') next = 0;
    else if (event.key === 'End') next = size - 1;
    else if (event.key.length === 1 && event.key !== ' ') {
      const letter = event.key.toLowerCase();
      for (let step = 1; step <= size && next < 0; step += 1) {
        const candidate = (at + step) % size;
        if (items[candidate]?.label.toLowerCase().startsWith(letter)) next = candidate;
      }
    }
    if (next < 0) return;
    event.preventDefault();
    buttons[next]?.focus();
  });
  return menu;
}
