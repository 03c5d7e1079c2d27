import { expect, test } from '../support/test';

const midway = 'CHICAGO MIDWAY INTL ARPT';

test('another airport is chosen and ticked as reviewed, and the history tells who, when, from and to', async ({
  dana,
  api,
}) => {
  const table = await dana.open('review-matches', `?equals:airport_name=${encodeURIComponent(midway)}`);
  const iata = await table.goTo(midway, 'iata');
  const suggested = await api.value('review-matches', midway, 'iata');
  const suggestedName = (await iata.textContent()) ?? '';

  await dana.page.keyboard.type('newark');
  const newark = table.options.filter({ hasText: 'Newark Intl' });
  while ((await newark.getAttribute('aria-selected')) !== 'true') await dana.page.keyboard.press('ArrowDown');
  await dana.page.keyboard.press('Enter');
  await table.saved();
  await expect(iata).toContainText('Newark Intl');
  await table.goTo(midway, 'iata');
  await dana.page.keyboard.type('midway');
  const option = table.options.filter({ hasText: 'Chicago Midway' });
  while ((await option.getAttribute('aria-selected')) !== 'true') await dana.page.keyboard.press('ArrowDown');
  await dana.page.keyboard.press('Enter');
  await table.saved();
  await expect(iata).toContainText('Chicago Midway');
  expect(await api.value('review-matches', midway, 'iata')).toBe('MDW');

  await table.type(midway, 'comments', 'Name and city agree');
  await table.saved();
  await table.goTo(midway, 'reviewed');
  await dana.page.keyboard.press('Space');
  await table.saved();
  await expect(table.cell(midway, 'reviewed')).toHaveAccessibleName('yes');
  await expect(table.row(midway)).toHaveClass(/\bsg-approved\b/);

  await table.goTo(midway, 'iata');
  await dana.page.keyboard.press('Alt+H');
  await expect(table.popup).toContainText('History of Airport');
  const events = table.popup.locator('.sg-event');
  await expect(events.filter({ hasText: 'Newark Intl (EWR) → Chicago Midway (MDW)' })).toContainText(
    /dana edited .*today \d\d:\d\d/,
  );
  await expect(events.filter({ hasText: '→ Newark Intl (EWR)' })).toContainText('dana');
  await expect(events.last()).toContainText('Original value');
  await expect(events.last()).toContainText(suggested ?? '');
  expect(suggestedName).toContain(suggested ?? '');
  await dana.page.keyboard.press('Escape');

  await table.goTo(midway, 'comments');
  await dana.page.keyboard.press('Alt+H');
  await expect(events.filter({ hasText: 'empty → Name and city agree' })).toContainText(/dana edited/);
});

test('a tick logs every editable cell of its row, so that it is known what was approved', async ({ dana, api }) => {
  const table = await dana.open('review-matches');
  const key = (await table.keys(1))[0] ?? '';
  const iata = await api.value('review-matches', key, 'iata');
  await table.goTo(key, 'reviewed');
  await dana.page.keyboard.press('Space');
  await table.saved();
  // What was approved as it is does not look like a correction.
  await expect(table.cell(key, 'iata')).toHaveClass(/\bsg-agrees\b/);
  await expect(table.cell(key, 'reviewed')).not.toHaveClass(/\bsg-agrees\b/);
  const { events } = await api.history('review-matches', key);
  const logged = new Map(events.map(({ column, value }) => [column, value]));
  expect([...logged.keys()].sort()).toEqual(['comments', 'iata', 'reviewed']);
  expect(logged.get('iata')).toBe(iata);
  expect(logged.get('reviewed')).toBe('true');
  expect(logged.get('comments')).toBeNull();
  expect(new Set(events.map(({ user }) => user))).toEqual(new Set(['dana']));
});

test('the history opens with the mouse, and takes the cell back to the original', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  const cell = await table.type('1', 'species', 'Black vulture');
  await table.saved();
  await cell.hover();
  await dana.page.getByRole('button', { name: 'History of this cell' }).click();
  await expect(table.popup).toContainText('Turkey vulture → Black vulture');
  await table.popup.getByRole('button', { name: 'Revert to original' }).click();
  await table.saved();
  await expect(cell).toHaveText('Turkey vulture');
  await expect(cell).not.toHaveClass(/\bsg-edited\b/);
  const { original, events } = await api.history('correct-strikes', '1', 'species');
  expect(original).toBe('Turkey vulture');
  expect(events.map(({ action }) => action)).toEqual(['revert', 'update']);

  await table.reload();
  await expect(cell).toHaveText('Turkey vulture');
  await cell.click();
  await dana.page.keyboard.press('Alt+H');
  await expect(table.popup).toContainText('dana reverted to the original');
});

test('the history of a cell that nobody edited says so', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'aircraft');
  await dana.page.keyboard.press('Alt+H');
  await expect(table.popup).toContainText('Nobody has edited this cell.');
  await expect(table.popup).toContainText('T-38A');
});
