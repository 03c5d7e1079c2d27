/** What each key does. Everything that a mouse can do has a key. */

import type { GridCore } from './grid';
import { HEADER_ROW, movement } from './selection';

/** Handles a key; returns true when the grid has used it. */
export function handleKey(core: GridCore, event: KeyboardEvent): boolean {
  // Keys of an input method in the middle of a word belong to it alone.
  if (event.isComposing || event.keyCode === 229) return false;
  if (core.editor.editing) return core.editor.key(event);
  const control = event.ctrlKey || event.metaKey;
  if (event.key === 'ContextMenu' || (event.shiftKey && event.key === 'F10')) {
    openMenu(core);
    return true;
  }
  if (core.selection.active.row === HEADER_ROW && headerKey(core, event)) return true;
  if (event.altKey) return altKey(core, event);
  if (control && controlKey(core, event)) return true;
  if (move(core, event, control)) return true;
  return control ? false : cellKey(core, event);
}

function move(core: GridCore, event: Pick<KeyboardEvent, 'key' | 'shiftKey'>, control: boolean): boolean {
  const { selection, viewport } = core;
  const from = event.shiftKey ? selection.moving : selection.active;
  const to = movement(from, {
    key: event.key,
    control,
    rows: core.rowsTotal,
    columns: core.columns.shown.length,
    screen: viewport.screenRows,
  });
  if (!to) return false;
  if (core.pages.counting && control && (event.key === 'End' || event.key === 'ArrowDown')) {
    // Where the last row is, is not known yet.
    const { key, shiftKey } = event;
    core.waiting.jump(() => move(core, { key, shiftKey }, control));
    return true;
  }
  if (event.shiftKey) core.extendTo(to.row, to.column);
  else core.setActive(to.row, to.column);
  // A pinned column is always in sight; jumping to it is meant to show what lies beside it.
  if (to.column === 0 && (event.key === 'Home' || control)) viewport.scroller.scrollLeft = 0;
  return true;
}

function controlKey(core: GridCore, event: KeyboardEvent): boolean {
  switch (event.key.toLowerCase()) {
    case 'a':
      core.selectAll();
      return true;
    case 'z':
      void (event.shiftKey ? core.edits.redo() : core.edits.undo());
      return true;
    case 'y':
      void core.edits.redo();
      return true;
    case 'd':
      void core.transfer.fillDown();
      return true;
    default:
      return false;
  }
}

function altKey(core: GridCore, event: KeyboardEvent): boolean {
  if (event.key.toLowerCase() === 'h') {
    core.history.open();
    return true;
  }
  if (event.key === 'ArrowDown') {
    core.editor.start(null);
    return true;
  }
  return false;
}

function cellKey(core: GridCore, event: KeyboardEvent): boolean {
  const active = core.activeCell();
  const state = active ? core.states.get(active.row.key, active.view.column.name) : undefined;
  switch (event.key) {
    case 'Enter':
      if ((state?.kind === 'conflict' || state?.kind === 'offline') && core.card.focus()) return true;
      core.editor.start(null);
      return true;
    case 'F2':
      core.editor.start(null);
      return true;
    case 'Delete':
    case 'Backspace':
      void core.transfer.clear();
      return true;
    case ' ':
      return core.transfer.toggle();
    case 'Escape':
      if (state && state.kind !== 'pending') core.edits.discard(state);
      else if (!core.card.dismiss() && !core.selection.single) {
        core.setActive(core.selection.active.row, core.selection.active.column);
      } else return false;
      return true;
    default:
      return false;
  }
}

function headerKey(core: GridCore, event: KeyboardEvent): boolean {
  const place = core.selection.active.column;
  const name = core.columns.shown[place]?.column.name;
  if (name === undefined) return false;
  if (event.altKey) {
    const direction = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (direction !== 0 && event.shiftKey) core.header.move(name, direction);
    else if (direction !== 0) core.header.nudge(name, direction);
    else if (event.key === 'ArrowDown') core.header.openFilter(place);
    else return false;
    return true;
  }
  if (event.ctrlKey || event.metaKey) return false;
  switch (event.key) {
    case 'Enter':
    case ' ':
      core.header.toggleSort(name, event.shiftKey);
      return true;
    case 'f':
    case 'F':
      core.header.openFilter(place);
      return true;
    default:
      // Nothing is typed into a header.
      return event.key.length === 1;
  }
}

function openMenu(core: GridCore): void {
  const { row, column } = core.selection.active;
  if (row === HEADER_ROW) core.header.openMenu(column);
  else core.menus.cell(() => core.activeRect());
}
