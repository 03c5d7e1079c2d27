import { noViolations, wcag } from '../support/axe';
import { grouped, strikes } from '../support/csv';
import { expect, test } from '../support/test';

function countOf(column: 'species' | 'speed_knots', value: string): number {
  return strikes.filter((row) => row[column] === value).length;
}

test('rows are grouped from the column menu, and choosing a group filters the table', async ({ dana, api }) => {
  const species = [...new Set(strikes.map((row) => row.species))];
  const [most] = species.sort((a, b) => countOf('species', b) - countOf('species', a));
  if (most === undefined) throw new Error('the sample has no species');
  const { page } = dana;
  const table = await dana.open('correct-strikes');
  await table.header('species').click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Group rows by this…' }).click();
  const panel = page.getByRole('complementary', { name: 'Groups' });
  await expect(panel.getByRole('heading', { name: 'Groups of Species' })).toBeFocused();
  await expect(panel.getByRole('status')).toHaveText(`${grouped(species.length)} groups of 10,000 rows`);
  const first = panel.getByRole('list').last().getByRole('button').first();
  await expect(first).toHaveText(`${most} ${grouped(countOf('species', most))} rows`);
  await noViolations(page, wcag);

  await first.click();
  await expect(first).toHaveAttribute('aria-pressed', 'true');
  await expect(table.rowsText).toHaveText(`${grouped(countOf('species', most))} of 10,000 rows`);
  // The other groups stay to be chosen from.
  await expect(panel.getByRole('status')).toHaveText(`${grouped(species.length)} groups of 10,000 rows`);

  // Somebody else's edit is counted too.
  await api.edit('correct-strikes', strikes.find((row) => row.species === most)?.strike_id ?? '', 'species', 'A heron');
  await expect(first).toHaveText(`${most} ${grouped(countOf('species', most) - 1)} rows`);

  await first.click();
  await expect(table.rowsText).toHaveText('10,000 rows');
  await page.keyboard.press('Escape');
  await expect(panel).toBeHidden();
});

test('groups are made and chosen from the keyboard, empty cells among them', async ({ dana }) => {
  const { page } = dana;
  const empty = countOf('speed_knots', '');
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'speed_knots');
  await table.header('speed_knots').click({ button: 'right' });
  await expect(page.getByRole('menu')).toBeVisible();
  await page.keyboard.press('ArrowDown');
  const item = page.getByRole('menuitem', { name: 'Group rows by this…' });
  while (!(await item.evaluate((node) => node === document.activeElement))) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  const panel = page.getByRole('complementary', { name: 'Groups' });
  const none = panel.getByRole('button', { name: /^\(empty\)/ });
  await expect(none).toBeVisible();
  await none.focus();
  await page.keyboard.press('Enter');
  await expect(table.rowsText).toHaveText(`${grouped(empty)} of 10,000 rows`);
  await page.keyboard.press('ArrowDown');
  await expect(none).not.toBeFocused();
  await panel.getByRole('combobox', { name: 'and by' }).selectOption('damage');
  await expect(panel.getByRole('heading')).toHaveText(/^Groups of .*, Damage$/i);
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`an administrator sees what open tables take (${colorScheme})`, async ({ person }) => {
    const { page, open } = await person('admin', { colorScheme });
    await open('correct-strikes', '?sort=asc:species');
    await page.getByRole('button', { name: /^Account of/ }).click();
    await page.getByRole('link', { name: 'Status of the node' }).click();
    await expect(page.getByRole('heading', { name: 'Status', exact: true })).toBeVisible();
    const row = page.getByRole('row', { name: /correct-strikes/ });
    await expect(row).toContainText('10,000');
    await expect(row).toContainText('1 view');
    await noViolations(page, wcag);
  });
}

test('others find no link to the status, and the page says why it shows nothing', async ({ dana, complaints }) => {
  complaints.allow(/status of 403 .*\/api\/v1\/status\)$/);
  const { page } = dana;
  await page.goto('/projects');
  await page.getByRole('button', { name: /^Account of/ }).click();
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Status of the node' })).toHaveCount(0);
  await page.goto('/status');
  await expect(page.getByRole('alert')).toContainText('administrator');
});
