import { strike } from '../support/csv';
import { expect, test } from '../support/test';

test.beforeEach(async ({ dana }) => {
  await dana.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
});

test('a block from a spreadsheet is pasted as one change, and one undo brings all back', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'cost_repair');
  await table.paste('10\t20\t30\r\n11\t21\t31\r\n12\t22\t32\r\n');
  await table.saved();
  await expect(table.notices).toContainText('Paste: 9 cells saved');
  for (const [at, key] of ['1', '2', '3'].entries()) {
    await expect(table.cell(key, 'cost_repair')).toHaveText(String(10 + at));
    await expect(table.cell(key, 'cost_other')).toHaveText(String(20 + at));
    await expect(table.cell(key, 'cost_total')).toHaveText(String(30 + at));
  }
  const batches = new Set<unknown>();
  for (const key of ['1', '2', '3']) {
    const { events } = await api.history('correct-strikes', key);
    expect(events.map(({ source }) => source)).toEqual(['paste', 'paste', 'paste']);
    for (const event of events) batches.add((event as unknown as { batch_id: string }).batch_id);
  }
  expect(batches.size).toBe(1);

  await dana.page.keyboard.press('Control+Z');
  await expect(table.notices).toContainText('Undo: 9 cells');
  await table.saved();
  for (const key of ['1', '2', '3']) {
    const { cost_repair, cost_other, cost_total } = strike(key);
    for (const [column, value] of Object.entries({ cost_repair, cost_other, cost_total })) {
      await expect(table.cell(key, column)).toHaveText(value);
      await expect(table.cell(key, column)).not.toHaveClass(/\bsg-edited\b/);
    }
  }
  await dana.page.keyboard.press('Control+Y');
  await table.saved();
  await expect(table.cell('3', 'cost_total')).toHaveText('32');
});

test('what is copied comes back the same when it is pasted', async ({ dana, api }) => {
  await api.edit('correct-strikes', '1', 'comments', 'two\nlines\tand a "tab"');
  const table = await dana.open('correct-strikes');
  await table.select({ key: '1', column: 'comments' }, 2, 1);
  await dana.page.keyboard.press('Control+C');
  await table.goTo('5', 'comments');
  await dana.page.keyboard.press('Control+V');
  await table.saved();
  expect(await api.value('correct-strikes', '5', 'comments')).toBe('two\nlines\tand a "tab"');
  expect(await api.value('correct-strikes', '6', 'comments')).toBeNull();
});

test('one value fills the whole selection', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await table.select({ key: '2', column: 'species' }, 4, 1);
  await table.paste('Barn owl');
  await table.saved();
  for (const key of ['2', '3', '4', '5']) await expect(table.cell(key, 'species')).toHaveText('Barn owl');
  await expect(table.cell('6', 'species')).not.toHaveText('Barn owl');
});

test('the first value of a selection is filled down', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  await table.type('10', 'species', 'Osprey');
  await table.saved();
  await table.select({ key: '10', column: 'species' }, 5, 1);
  await dana.page.keyboard.press('Control+D');
  await table.saved();
  for (const key of ['10', '11', '12', '13', '14']) await expect(table.cell(key, 'species')).toHaveText('Osprey');
  expect((await api.history('correct-strikes', '14', 'species')).events.map(({ source }) => source)).toEqual(['fill']);
});

test('a block with values that are refused saves the others and keeps those as drafts', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'speed_knots');
  await table.paste('100\n9999\n120');
  await expect(table.notices).toContainText('2 cells saved, 1 not accepted');
  await expect(table.cell('2', 'speed_knots')).toHaveClass(/\bsg-refused\b/);
  expect(await api.value('correct-strikes', '1', 'speed_knots')).toBe('100');
  expect(await api.value('correct-strikes', '2', 'speed_knots')).toBe(strike('2').speed_knots);
  expect(await api.value('correct-strikes', '3', 'speed_knots')).toBe('120');
});

test('a column of ten thousand cells is filled and undone as one change', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'comments');
  await dana.page.keyboard.press('Control+Shift+End');
  // From the comments to the last column; the last one is read only.
  await table.paste('checked');
  await expect(table.notices).toContainText('Paste: 10,000 cells saved', { timeout: 30_000 });
  expect(await api.value('correct-strikes', '10000', 'comments')).toBe('checked');
  await dana.page.keyboard.press('Control+Z');
  await expect(table.notices).toContainText('Undo: 10,000 cells', { timeout: 30_000 });
  expect(await api.value('correct-strikes', '10000', 'comments')).toBeNull();
});

test('a paste of values with the ticks that approve them is saved as a whole', async ({ dana, api }) => {
  const table = await dana.open('review-matches');
  const keys = await table.keys(2);
  await table.goTo(keys[0] ?? '', 'reviewed');
  await table.paste('TRUE\tsure\nTRUE\tsure, too');
  await table.saved();
  await expect(table.notices).toContainText('Paste: 4 cells saved');
  for (const [at, key] of keys.entries()) {
    expect(await api.value('review-matches', key, 'reviewed')).toBe('true');
    expect(await api.value('review-matches', key, 'comments')).toBe(['sure', 'sure, too'][at]);
  }
  await dana.page.keyboard.press('Control+Z');
  await table.saved();
  expect(await api.value('review-matches', keys[0] ?? '', 'reviewed')).toBeNull();
});
