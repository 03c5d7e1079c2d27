/** What was done, so that it can be undone as new events. One paste is one entry. */

import type { EditRequest } from './types';

const ENTRIES_MAX = 200;

export interface UndoItem {
  key: string;
  column: string;
  before: string | null;
  /** Whether an override stood on the cell before; if not, undoing takes the new one away. */
  overridden: boolean;
  after: string | null;
  action: 'update' | 'revert';
  /** The last event that this client knows of for the cell. */
  event: number;
}

export interface UndoEntry {
  label: string;
  items: UndoItem[];
}

export type Step = Pick<EditRequest, 'action'> & { action: 'update' | 'revert'; value: string | null };

export class UndoStack {
  private done: UndoEntry[] = [];
  private undone: UndoEntry[] = [];

  push(entry: UndoEntry): void {
    if (entry.items.length === 0) return;
    this.done.push(entry);
    if (this.done.length > ENTRIES_MAX) this.done.shift();
    this.undone = [];
  }

  takeUndo(): UndoEntry | undefined {
    return this.done.pop();
  }

  takeRedo(): UndoEntry | undefined {
    return this.undone.pop();
  }

  /** Puts back what remains of an entry after it was undone, with the events that undoing made. */
  wasUndone(entry: UndoEntry): void {
    if (entry.items.length > 0) this.undone.push(entry);
  }

  wasRedone(entry: UndoEntry): void {
    if (entry.items.length > 0) this.done.push(entry);
  }
}

export function undoStep(item: UndoItem): Step {
  return item.overridden ? { action: 'update', value: item.before } : { action: 'revert', value: item.before };
}

export function redoStep(item: UndoItem): Step {
  return { action: item.action, value: item.after };
}
