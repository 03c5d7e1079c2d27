/** Menus of cells, headers and the set of columns. */

import type { ColumnView } from './columns';
import { button, element } from './dom';
import type { GridCore } from './grid';
import { standingEdit } from './pages';
import { menuContent, type MenuItem } from './popover';

export class Menus {
  private readonly core: GridCore;

  constructor(core: GridCore) {
    this.core = core;
  }

  cell(anchor: () => DOMRect | null): void {
    const { core } = this;
    const active = core.activeCell();
    if (!active) return;
    const { row, view } = active;
    const { column } = view;
    const state = core.states.get(row.key, column.name);
    const editable = core.whyFixed(view, row) === null;
    const items: MenuItem[] = [];
    if (state?.kind === 'conflict') {
      items.push({ label: 'Keep mine', run: () => void core.edits.keepMine(state) });
      items.push({ label: 'Take theirs', run: () => core.edits.discard(state) });
    } else if (state?.kind === 'refused') {
      items.push({ label: 'Discard draft', hint: 'Esc', run: () => core.edits.discard(state) });
    } else if (state?.kind === 'offline') {
      items.push({ label: 'Send again', run: () => void core.edits.retry() });
      items.push({ label: 'Discard draft', hint: 'Esc', run: () => core.edits.discard(state) });
    }
    const changed = standingEdit(row, column.name)?.state === 'source_changed';
    if (changed && editable && !state) {
      items.push({ label: 'Keep this value over the changed source', run: () => void core.edits.keep(row, column.name) });
      items.push({ label: 'Accept the source', run: () => void core.edits.revert(row, column.name) });
    }
    const separated = items.length > 0;
    items.push(
      { label: 'Edit', hint: 'Enter', separated, disabled: !editable, run: () => core.editor.start(null) },
      { label: 'History of this cell', hint: 'Alt+H', run: () => core.history.open() },
      {
        label: 'Revert to original',
        disabled: !editable || !standingEdit(row, column.name),
        run: () => void core.edits.revert(row, column.name),
      },
      { label: 'Copy', hint: 'Ctrl+C', separated: true, run: () => void core.transfer.copyToSystem() },
      { label: 'Paste', hint: 'Ctrl+V', disabled: core.readOnly !== null, run: () => void core.transfer.pasteFromSystem() },
      { label: 'Empty', hint: 'Del', disabled: !editable && core.selection.single, run: () => void core.transfer.clear() },
    );
    this.show(`${column.title}, row ${core.selection.active.row + 1}`, items, anchor);
  }

  header(view: ColumnView, anchor: () => DOMRect): void {
    const { core } = this;
    const { name } = view.column;
    const sorted = core.query.sort.find((sort) => sort.column === name);
    const place = core.columns.place(name);
    const group = core.options.onGroup;
    const beside = (by: -1 | 1): boolean => core.columns.shown[place + by]?.pinned === view.pinned;
    this.show(
      view.column.title,
      [
        {
          label: 'Sort ascending',
          checked: sorted?.descending === false,
          run: () => core.header.sortBy(name, { column: name, descending: false }, false),
        },
        {
          label: 'Sort descending',
          checked: sorted?.descending === true,
          run: () => core.header.sortBy(name, { column: name, descending: true }, false),
        },
        { label: 'Filter\u2026', hint: 'F', separated: true, run: () => core.header.openFilter(place) },
        ...(group ? [{ label: 'Group rows by this\u2026', run: () => group(name) }] : []),
        { label: 'Fit width', separated: true, run: () => core.fitColumn(name) },
        { label: 'Move left', hint: 'Alt+Shift+\u2190', disabled: !beside(-1), run: () => core.header.move(name, -1) },
        { label: 'Move right', hint: 'Alt+Shift+\u2192', disabled: !beside(1), run: () => core.header.move(name, 1) },
        {
          label: 'Hide column',
          disabled: core.columns.shown.length < 2,
          run: () => {
            core.columns.setHidden(name, true);
            core.rebuildColumns();
          },
        },
        { label: 'Columns\u2026', run: () => core.header.openColumns() },
      ],
      anchor,
    );
  }

  /** Which columns are shown. */
  columns(anchor: () => DOMRect): void {
    const { core } = this;
    const list = element('div', 'sg-columnlist', { role: 'group', 'aria-label': 'Columns' });
    let focus: HTMLElement | null = null;
    for (const view of core.columns.all) {
      const box = element('input', '', { type: 'checkbox' });
      box.checked = !view.hidden;
      focus ??= box;
      box.addEventListener('change', () => {
        core.columns.setHidden(view.column.name, !box.checked);
        box.checked = !view.hidden;
        core.rebuildColumns();
      });
      list.append(element('label', 'sg-radio', null, box, view.column.title));
    }
    const all = button('Show all', 'sg-button', () => {
      for (const view of core.columns.all) core.columns.setHidden(view.column.name, false);
      core.popover.close();
      core.rebuildColumns();
    });
    const done = button('Done', 'sg-button sg-primary', () => core.popover.close());
    core.popover.show({
      anchor,
      label: 'Columns',
      role: 'dialog',
      className: 'sg-filterform',
      content: element(
        'div',
        'sg-form',
        null,
        element('div', 'sg-poptitle', null, 'Columns'),
        list,
        element('div', 'sg-actions', null, all, done),
      ),
      focus,
    });
  }

  private show(label: string, items: MenuItem[], anchor: () => DOMRect | null): void {
    const { popover } = this.core;
    const content = menuContent(items, () => popover.close());
    popover.show({ anchor, label, role: 'menu', className: 'sg-menupop', content, focus: content.querySelector('button') });
  }
}
