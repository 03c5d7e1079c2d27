/** Small helpers for building DOM without markup strings: data only ever enters as text. */

import { sentenceParts } from '../lib/format';

type Attributes = Record<string, string | number | boolean | null>;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  attributes: Attributes | null = null,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (attributes) setAttributes(node, attributes);
  node.append(...children);
  return node;
}

/** Sets attributes; `false` and null take an attribute away. */
export function setAttributes(node: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) node.removeAttribute(name);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
}

export function button(label: string, className: string, run: (event: MouseEvent) => void): HTMLButtonElement {
  const node = element('button', className, { type: 'button' }, label);
  node.addEventListener('click', run);
  return node;
}

/** A sentence of the server as nodes: names and values that it puts between backticks are set as code. */
export function sentence(text: string): Node[] {
  return sentenceParts(text).map((part) =>
    part.code ? element('code', '', null, part.text) : document.createTextNode(part.text),
  );
}

let counter = 0;

/** An id that no other element of the page has. */
export function uniqueId(prefix: string): string {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** UUID version 4. `crypto.randomUUID` is missing on plain http, `getRandomValues` is not. */
export function uuid(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
