import { expect, test } from '../support/test';

/** Values that break tables elsewhere, each typed or pasted into a text and shown again exactly. */
const awkward = [
  ['quotes and commas', '"Quoted", it\'s; said'],
  ['emoji and combining marks', '🦅 e\u0301 👩‍✈️'],
  ['text from right to left', 'נשר מול مطار'],
  ['what other programs take for nothing', 'NA'],
  ['a number larger than a double holds exactly', '9223372036854775807'],
  ['leading zeros', '007'],
  ['a formula of spreadsheets', '=1+1'],
  ['markup', '<img src=x onerror=alert(1)>'],
  ['spaces at both ends', '  spaced  '],
] as const;

for (const [what, value] of awkward) {
  test(`${what} is kept exactly when typed`, async ({ dana, api }) => {
    dana.page.on('dialog', (dialog) => {
      throw new Error(`The page opened a dialog: ${dialog.message()}`);
    });
    const table = await dana.open('correct-strikes');
    const cell = await table.goTo('1', 'comments');
    await dana.page.keyboard.insertText(value);
    await dana.page.keyboard.press('Enter');
    await table.saved();
    expect(await api.value('correct-strikes', '1', 'comments')).toBe(value);
    await table.reload();
    await table.goTo('1', 'comments');
    expect(await cell.evaluate((node) => node.firstChild?.textContent)).toBe(value);
    await expect(cell.locator('img')).toHaveCount(0);
    await dana.page.keyboard.press('Alt+H');
    await expect(table.popup.locator('.sg-event').first()).toContainText(value.trim());
    await expect(table.popup.locator('img')).toHaveCount(0);
    await dana.page.keyboard.press('Escape');
    await dana.page.keyboard.press('F2');
    await expect(table.editor).toHaveValue(value);
  });
}

test('all of them are kept exactly when pasted as a block', async ({ dana, api }) => {
  await dana.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  const values = [...awkward.map(([, value]) => value), 'line\nbreak', 'tab\tinside', 'said ""twice""'];
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'comments');
  await table.paste(values.map((value) => `"${value.replaceAll('"', '""')}"`).join('\r\n'));
  await table.saved();
  for (const [at, value] of values.entries()) {
    expect(await api.value('correct-strikes', String(at + 1), 'comments')).toBe(value);
  }
});

test('the empty text and no value stay apart, to the eye and after a reload', async ({ dana, api }) => {
  await dana.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await api.edit('correct-strikes', '2', 'comments', 'to be emptied');
  const table = await dana.open('correct-strikes');
  const text = await table.goTo('1', 'comments');
  await table.paste('""');
  await table.saved();
  const nothing = await table.goTo('2', 'comments');
  await dana.page.keyboard.press('Delete');
  await table.saved();
  expect(await api.value('correct-strikes', '1', 'comments')).toBe('');
  expect(await api.value('correct-strikes', '2', 'comments')).toBeNull();
  await table.reload();
  await table.goTo('2', 'comments');
  await expect(text).toHaveText('""');
  await expect(nothing).toHaveText('');
});

test('a whole number beyond 64 bits is refused in words, not rounded', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  const cell = await table.type('1', 'speed_knots', '9223372036854775808');
  await expect(cell).toHaveClass(/\bsg-refused\b/);
  await expect(cell).toHaveText('9,223,372,036,854,775,808');
});
