import { expect, test, type Person } from '../support/test';
import type { Table } from '../support/table';

/** Keeps live news from a page, as a bad network does: what it shows grows old. */
async function withoutNews(person: Person): Promise<void> {
  await person.page.route('**/webapps/*/events', () => {
    // Never answered, so that the page waits for its first message for good.
  });
}

test('an edit of somebody else appears within a second, without a reload', async ({ dana, person }) => {
  const admin = await person('admin');
  const hers = await dana.open('correct-strikes');
  const his = await admin.open('correct-strikes');
  // His name at a cell shows that her page hears of him.
  await his.goTo('3', 'species');
  await expect(dana.page.getByRole('button', { name: /is here too/ })).toBeVisible();

  await admin.page.keyboard.type('Snow goose');
  await admin.page.keyboard.press('Enter');
  await his.saved();
  await expect(hers.cell('3', 'species')).toHaveText('Snow goose', { timeout: 1_000 });
  await expect(hers.cell('3', 'species')).toHaveClass(/\bsg-edited\b/);

  await his.goTo('3', 'species');
  await admin.page.keyboard.press('Control+Z');
  await his.saved();
  await expect(hers.cell('3', 'species')).not.toHaveText('Snow goose', { timeout: 1_000 });
});

test('the name of somebody else stands at the cell that they are in', async ({ dana, person }) => {
  const admin = await person('admin');
  const hers = await dana.open('correct-strikes');
  const his = await admin.open('correct-strikes');
  await his.goTo('4', 'flight_date');
  const tag = dana.page.locator('.sg-tag:visible');
  await expect(tag).toHaveCount(1);
  const name = (await tag.textContent()) ?? '';
  expect(name).toMatch(/\w/);
  await admin.page.keyboard.press('F2');
  await expect(tag).toHaveText(`${name} is editing`);
  await expect(hers.cell('4', 'flight_date')).toHaveClass(/\bsg-peer\b/);

  await dana.page.getByRole('button', { name: /is here too/ }).click();
  await expect(dana.page.getByText('is editing 4, Flight date')).toBeVisible();
  await admin.page.context().close();
  await expect(tag).toHaveCount(0);
});

test.describe('a conflict shows both values and who wrote the other one', () => {
  async function collide(dana: Person, admin: Person): Promise<{ hers: Table; his: Table }> {
    await withoutNews(dana);
    await withoutNews(admin);
    const hers = await dana.open('correct-strikes');
    const his = await admin.open('correct-strikes');
    await his.type('6', 'species', 'Canada goose');
    await his.saved();
    await expect(hers.cell('6', 'species')).not.toHaveText('Canada goose');
    await hers.type('6', 'species', 'Snow goose');
    await expect(hers.cell('6', 'species')).toHaveClass(/\bsg-conflict\b/);
    await expect(hers.cell('6', 'species')).toHaveText('Snow goose');
    await expect(hers.card).toContainText('admin');
    await expect(hers.card).toContainText('Canada goose');
    await expect(hers.card).toContainText('Snow goose');
    return { hers, his };
  }

  test('"Keep mine" writes over it, and both are in the history', async ({ dana, person, api }) => {
    const { hers } = await collide(dana, await person('admin'));
    await hers.card.getByRole('button', { name: 'Keep mine' }).click();
    await hers.saved();
    await expect(hers.cell('6', 'species')).toHaveText('Snow goose');
    await expect(hers.card).toHaveCount(0);
    const { events } = await api.history('correct-strikes', '6', 'species');
    expect(events.map(({ user, value }) => [user, value])).toEqual([
      ['dana', 'Snow goose'],
      ['admin', 'Canada goose'],
    ]);
  });

  test('"Take theirs" leaves it as it is, and nothing is written', async ({ dana, person, api }) => {
    const { hers } = await collide(dana, await person('admin'));
    await hers.card.getByRole('button', { name: 'Take theirs' }).click();
    await hers.saved();
    await expect(hers.cell('6', 'species')).toHaveText('Canada goose');
    const { events } = await api.history('correct-strikes', '6', 'species');
    expect(events.map(({ user, value }) => [user, value])).toEqual([['admin', 'Canada goose']]);
  });

  test('it can be settled by the keyboard alone', async ({ dana, person, api }) => {
    const { hers } = await collide(dana, await person('admin'));
    await dana.page.keyboard.press('ArrowUp');
    await dana.page.keyboard.press('Enter');
    await expect(hers.card.getByRole('button', { name: 'Take theirs' })).toBeFocused();
    await dana.page.keyboard.press('Tab');
    await dana.page.keyboard.press('Enter');
    await hers.saved();
    expect(await api.value('correct-strikes', '6', 'species')).toBe('Snow goose');
  });
});

test('an edit that arrives while one types is no lost edit but a conflict', async ({ dana, api }) => {
  const hers = await dana.open('correct-strikes');
  await hers.goTo('8', 'species');
  await dana.page.keyboard.type('Barn owl');
  await api.edit('correct-strikes', '8', 'species', 'Snowy owl');
  // The news has arrived when the row behind the editor shows it.
  await expect(hers.cell('8', 'species')).toHaveText('Snowy owl');
  await dana.page.keyboard.press('Enter');
  await expect(hers.cell('8', 'species')).toHaveClass(/\bsg-conflict\b/);
  await expect(hers.card).toContainText('Snowy owl');
  expect(await api.value('correct-strikes', '8', 'species')).toBe('Snowy owl');
});

test('two edits of different cells of a row are no conflict', async ({ dana, person, api }) => {
  const admin = await person('admin');
  await withoutNews(dana);
  const hers = await dana.open('correct-strikes');
  const his = await admin.open('correct-strikes');
  await his.type('6', 'species', 'Canada goose');
  await his.saved();
  await hers.type('6', 'flight_date', '1991-01-01');
  await hers.saved();
  expect(await api.value('correct-strikes', '6', 'species')).toBe('Canada goose');
  expect(await api.value('correct-strikes', '6', 'flight_date')).toBe('1991-01-01');
});

test('an edit made without a connection waits, and is sent once when it is back', async ({ dana, api, complaints }) => {
  complaints.allow(/ERR_INTERNET_DISCONNECTED/);
  const hers = await dana.open('correct-strikes');
  const cell = await hers.goTo('2', 'species');
  await dana.page.context().setOffline(true);
  await dana.page.keyboard.type('Barn owl');
  await dana.page.keyboard.press('Enter');
  await expect(cell).toHaveClass(/\bsg-offline\b/);
  await expect(cell).toHaveText('Barn owl');
  await dana.page.context().setOffline(false);
  await hers.saved();
  const { events } = await api.history('correct-strikes', '2', 'species');
  expect(events.map(({ user, value }) => [user, value])).toEqual([['dana', 'Barn owl']]);
});
