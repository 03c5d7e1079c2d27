/** Short notices in the corner of the page. They are read out, and go away by themselves unless they are errors. */

export interface Notice {
  id: number;
  kind: 'info' | 'error';
  text: string;
  action?: { label: string; run: () => void };
}

const shownMax = 4;
const infoMs = 6_000;
const actionMs = 12_000;

class Notices {
  #list = $state.raw<Notice[]>([]);
  #lastId = 0;

  get list(): readonly Notice[] {
    return this.#list;
  }

  show(kind: Notice['kind'], text: string, action?: Notice['action']): void {
    // The same words twice are one notice.
    const others = this.#list.filter((notice) => notice.text !== text);
    this.#lastId += 1;
    const id = this.#lastId;
    this.#list = [...others, { id, kind, text, ...(action ? { action } : {}) }].slice(-shownMax);
    if (kind === 'info') setTimeout(() => this.dismiss(id), action ? actionMs : infoMs);
  }

  dismiss(id: number): void {
    this.#list = this.#list.filter((notice) => notice.id !== id);
  }
}

export const notices = new Notices();
