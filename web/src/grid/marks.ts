/** Marks that come and go: who is in which cell, and which cells have just changed. */

import { element } from './dom';
import type { GridCore } from './grid';
import type { Presence, Row } from './types';

const FLASH_MS = 1600;
const FLASHES_MAX = 2000;

export class Marks {
  private readonly core: GridCore;
  private peers = new Map<string, Presence[]>();
  private flashes = new Map<string, Set<string>>();
  private flashCount = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private tags: HTMLElement[] = [];

  constructor(core: GridCore) {
    this.core = core;
  }

  peersOf(key: string): Presence[] | undefined {
    return this.peers.size === 0 ? undefined : this.peers.get(key);
  }

  flashesOf(key: string): Set<string> | undefined {
    return this.flashes.size === 0 ? undefined : this.flashes.get(key);
  }

  setPresence(presence: Presence[]): void {
    this.peers = new Map();
    for (const peer of presence) {
      if (peer.key === null || peer.column === null) continue;
      const others = this.peers.get(peer.key);
      if (others) others.push(peer);
      else this.peers.set(peer.key, [peer]);
    }
    this.core.repaint();
  }

  flash(key: string, column: string): void {
    // A change of thousands of cells is told in words; a screen that blinks all over tells nothing.
    if (this.flashCount >= FLASHES_MAX) return;
    let columns = this.flashes.get(key);
    if (!columns) this.flashes.set(key, (columns = new Set<string>()));
    columns.add(column);
    this.flashCount += 1;
    this.timer ??= setTimeout(() => this.endFlashes(), FLASH_MS);
  }

  private endFlashes(): void {
    this.timer = undefined;
    this.flashes = new Map();
    this.flashCount = 0;
    this.core.repaint();
  }

  flashChanges(changes: { before: Row; after: Row }[]): void {
    for (const { before, after } of changes) {
      for (const view of this.core.columns.all) {
        const { name } = view.column;
        if (before.cells[view.index] !== after.cells[view.index]) this.flash(after.key, name);
        else if (before.edits[name]?.event !== after.edits[name]?.event) this.flash(after.key, name);
      }
    }
  }

  /** Name tags of others over their cells, drawn in the overlay so that rows do not clip them. */
  paintTags(): void {
    if (this.peers.size === 0 && this.tags.length === 0) return;
    let used = 0;
    const { viewport, pages, columns } = this.core;
    for (const [key, peers] of this.peers) {
      const row = pages.indexOf(key);
      if (row < 0) continue;
      peers.forEach((peer, at) => {
        if (peers.findIndex((other) => other.column === peer.column) !== at) return;
        const rect = viewport.rectOf(row, columns.place(peer.column ?? ''));
        if (!rect) return;
        const same = peers.filter((other) => other.column === peer.column);
        const text = same.map((other) => (other.editing ? `${other.name} is editing` : other.name)).join(', ');
        const tag = this.tags[used] ?? this.addTag();
        used += 1;
        if (tag.textContent !== text) tag.textContent = text;
        tag.classList.toggle('sg-tag-editing', same.some((other) => other.editing));
        const below = rect.top < 16;
        tag.style.transform = `translate(${rect.left}px,${below ? rect.top + rect.height : rect.top - 17}px)`;
        tag.hidden = false;
      });
    }
    for (; used < this.tags.length; used += 1) {
      const tag = this.tags[used];
      if (tag) tag.hidden = true;
    }
  }

  destroy(): void {
    clearTimeout(this.timer);
  }

  private addTag(): HTMLElement {
    const tag = element('div', 'sg-tag');
    this.tags.push(tag);
    this.core.viewport.overlay.append(tag);
    return tag;
  }
}
