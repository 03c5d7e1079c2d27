import { expect, test } from '../support/test';

const log = '/projects/BIRDSTRIKES/webapps/correct-strikes/log';

test('every edit is told on the page of edits, and narrowed down by a click', async ({ dana, api }) => {
  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  const table = await dana.open('correct-strikes');
  await table.type('2', 'comments', 'Near the tower');
  await table.saved();
  const { page } = dana;
  await page.getByRole('link', { name: 'Edits' }).click();
  await expect(page.getByRole('heading', { name: 'Edits' })).toBeVisible();
  const rows = page.locator('tbody tr');
  await expect(rows).toHaveCount(2);
  await expect(rows.first()).toContainText('dana');
  await expect(rows.first()).toContainText('Near the tower');
  await expect(rows.last()).toContainText('Black vulture');

  await rows.last().getByRole('button', { name: 'admin' }).click();
  await expect(rows).toHaveCount(1);
  await expect(page.getByRole('textbox', { name: 'Person' })).toHaveValue('admin');
  await page.reload();
  await expect(rows).toHaveCount(1);
  await page.getByRole('button', { name: 'Clear filters' }).click();
  await expect(rows).toHaveCount(2);
  await page.getByLabel('What').selectOption({ label: 'Deleted a row' });
  await expect(page.getByText('No edit fits these filters')).toBeVisible();
});

test('the edits of somebody are taken back after a look at what changes, and that is logged too', async ({
  dana,
  api,
}) => {
  const before = await api.value('correct-strikes', '1', 'species');
  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  await api.edit('correct-strikes', '2', 'species', 'Black vulture');
  const table = await dana.open('correct-strikes');
  await table.type('2', 'species', 'Turkey vulture');
  await table.saved();
  const { page } = dana;

  await page.goto(log);
  const take = page.getByRole('button', { name: 'Take these back…' });
  await expect(take).toBeDisabled();
  await page.getByRole('textbox', { name: 'Person' }).fill('admin');
  await page.getByRole('textbox', { name: 'Person' }).press('Enter');
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await take.click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('2 edits fit the filters. This 1 change makes');
  await expect(dialog.locator('tbody tr')).toHaveCount(1);
  await expect(dialog.locator('tbody tr')).toContainText('Black vulture');
  await dialog.getByLabel(/Reason/).fill('Wrong species');
  await dialog.getByRole('button', { name: 'Take back' }).click();
  await expect(dialog).toBeHidden();

  const rows = page.locator('tbody tr');
  await expect(rows).toHaveCount(1);
  await expect(rows).toContainText('Took an edit back');
  await expect(rows).toContainText('Wrong species');
  expect(await api.value('correct-strikes', '1', 'species')).toBe(before);
  expect(await api.value('correct-strikes', '2', 'species')).toBe('Turkey vulture');
});
