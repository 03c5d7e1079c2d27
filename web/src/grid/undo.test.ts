import { describe, expect, it } from 'vitest';
import { redoStep, undoStep, UndoStack, type UndoItem } from './undo';

function item(more: Partial<UndoItem> = {}): UndoItem {
  return { key: '1', column: 'c', before: 'a', overridden: false, after: 'b', action: 'update', event: 7, ...more };
}

describe('undo', () => {
  it('takes a first override away and puts an earlier one back', () => {
    expect(undoStep(item())).toEqual({ action: 'revert', value: 'a' });
    expect(undoStep(item({ overridden: true }))).toEqual({ action: 'update', value: 'a' });
  });

  it('undoes a revert by writing the override again', () => {
    const reverted = item({ action: 'revert', overridden: true, before: 'mine', after: 'original' });
    expect(undoStep(reverted)).toEqual({ action: 'update', value: 'mine' });
    expect(redoStep(reverted)).toEqual({ action: 'revert', value: 'original' });
  });

  it('goes back and forth, and forgets what was undone once something new is done', () => {
    const stack = new UndoStack();
    stack.push({ label: 'one', items: [item()] });
    const entry = stack.takeUndo();
    expect(entry?.label).toBe('one');
    stack.wasUndone(entry ?? { label: '', items: [] });
    const redo = stack.takeRedo();
    expect(redo?.label).toBe('one');
    stack.wasUndone(redo ?? { label: '', items: [] });
    stack.push({ label: 'two', items: [item()] });
    expect(stack.takeRedo()).toBeUndefined();
    expect(stack.takeUndo()?.label).toBe('two');
  });

  it('holds no empty entries', () => {
    const stack = new UndoStack();
    stack.push({ label: 'nothing', items: [] });
    expect(stack.takeUndo()).toBeUndefined();
  });
});
