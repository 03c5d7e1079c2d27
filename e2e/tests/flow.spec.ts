import type { Locator, Page } from '@playwright/test';
import { readFile, writeFile } from 'node:fs/promises';
import { strikes } from '../support/csv';
import { expect, test } from '../support/test';

const barksdale = 'BARKSDALE AIR FORCE BASE ARPT';

function nodeOf(page: Page, name: string): Locator {
  return page.locator('[data-flow]').getByRole('button', { name: new RegExp(`^${name}\\s*,`) });
}

/** The cells of a dataset's preview in the row that has `text`. */
function previewRow(page: Page, dataset: string, text: string): Locator {
  return page
    .getByRole('region', { name: `Rows of ${dataset}` })
    .locator('tbody tr')
    .filter({ hasText: text });
}

async function columnOf(page: Page, dataset: string, name: string): Promise<number> {
  const heads = page.getByRole('region', { name: `Rows of ${dataset}` }).locator('thead th');
  await expect(heads.first()).toBeAttached();
  const names = await heads.allTextContents();
  return names.findIndex((text) => text.trim().split(/\s/)[0] === name);
}

test.describe('in a node whose datasets are all up to date', () => {
  test.use({ nodeIs: 'new' });

  test('an edit makes the flow stale, and a build from the page changes the result', async ({ dana, api }) => {
    const { page } = dana;
    const before = strikes
      .filter((row) => row.airport_name === barksdale)
      .reduce((sum, row) => sum + Number(row.cost_total), 0);
    const iata = (await api.value('review-matches', barksdale, 'iata')) ?? '';

    await page.goto('/projects/BIRDSTRIKES');
    await expect(nodeOf(page, 'strikes_by_airport')).toContainText('Up to date');
    const table = await dana.open('correct-strikes');
    await table.type('1', 'cost_total', '1000001');
    await table.saved();
    await table.goTo('1', 'speed_knots');
    await page.keyboard.press('Delete');
    await table.saved();

    await page.getByRole('link', { name: 'Bird strikes' }).click();
    await expect(nodeOf(page, 'strikes_edited')).toContainText('Stale');
    await expect(nodeOf(page, 'strikes_by_airport')).toContainText('Stale');
    await expect(nodeOf(page, 'airport_matches')).toContainText('Up to date');
    await nodeOf(page, 'strikes_edited').click();
    await expect(page.getByRole('region', { name: 'Details of strikes_edited' })).toContainText('2 new edits');

    await nodeOf(page, 'strikes_by_airport').click();
    await expect(page.getByRole('region', { name: 'Details of strikes_by_airport' })).toContainText(
      'strikes_edited is not up to date',
    );
    await page
      .getByRole('group', { name: 'Build strikes_by_airport' })
      .getByRole('button', { name: 'Build', exact: true })
      .click();
    const job = page.getByRole('article', { name: 'Build of strikes_by_airport' });
    await expect(job).toContainText('Finished', { timeout: 30_000 });
    await expect(job).toContainText(/Built \d datasets/);
    await job.getByText(/steps and log/).click();
    await expect(job.getByRole('region', { name: /^Log of the build/ })).toContainText(
      /strikes_edited.*2 edits applied/,
    );
    await expect(nodeOf(page, 'strikes_edited')).toContainText('Up to date');
    await expect(nodeOf(page, 'strikes_by_airport')).toContainText('Up to date');

    await page.getByRole('link', { name: 'Preview' }).click();
    const cost = await columnOf(page, 'strikes_by_airport', 'cost_total');
    const row = previewRow(page, 'strikes_by_airport', iata).filter({
      has: page.getByRole('cell', { name: iata, exact: true }),
    });
    await expect(row.locator('th, td').nth(cost)).toHaveText(String(before + 1000001));

    await page.goto('/projects/BIRDSTRIKES/datasets/strikes_edited');
    const first = page.getByRole('region', { name: 'Rows of strikes_edited' }).locator('tbody tr').first();
    await expect(first.locator('th, td').nth(await columnOf(page, 'strikes_edited', 'speed_knots'))).toHaveText(
      'empty',
    );
    await expect(first.locator('th, td').nth(await columnOf(page, 'strikes_edited', 'cost_total'))).toHaveText(
      '1000001',
    );
    await page.goto('/projects/BIRDSTRIKES/datasets/strikes');
    const original = page.getByRole('region', { name: 'Rows of strikes' }).locator('tbody tr').first();
    await expect(original.locator('th, td').nth(await columnOf(page, 'strikes', 'speed_knots'))).toHaveText('300');
  });
});

test('everything that is stale is built with one button, and another window sees it happen', async ({
  dana,
  person,
}) => {
  const admin = await person('admin');
  const table = await dana.open('correct-strikes');
  await table.type('1', 'damage', 'Substantial');
  await table.saved();
  for (const { page } of [dana, admin]) {
    await page.goto('/projects/BIRDSTRIKES');
    await expect(nodeOf(page, 'strikes_edited')).toContainText('Stale');
  }
  await dana.page.getByRole('button', { name: 'Build all that is stale' }).click();
  for (const { page } of [dana, admin]) {
    await expect(page.getByRole('status').filter({ hasText: 'everything is up to date' })).toBeVisible({
      timeout: 30_000,
    });
    await expect(nodeOf(page, 'strikes_by_airport')).toContainText('Up to date');
  }
  await expect(dana.page.getByRole('button', { name: 'Build all that is stale' })).toBeDisabled();
});

test('the flow can be read as a list with the same facts', async ({ dana }) => {
  const { page } = dana;
  await page.goto('/projects/BIRDSTRIKES');
  await page.getByRole('button', { name: 'List' }).click();
  const list = page.getByRole('region', { name: 'Flow of the project as a list' });
  await expect(list.getByRole('row').filter({ hasText: 'strikes_by_airport' })).toContainText(/Derived dataset.*49/);
  await expect(list.getByRole('row').filter({ hasText: 'strikes_editlog' }).first()).toBeVisible();
  await page.reload();
  await expect(list).toBeVisible();
});

test('a dataset is paged through in its preview', async ({ dana }) => {
  const { page } = dana;
  await page.goto('/projects/BIRDSTRIKES/datasets/strikes_edited');
  await expect(page.getByText('Rows 1–100 of 10,000')).toBeVisible();
  await page.getByRole('button', { name: 'Last' }).click();
  await expect(page.getByText('Rows 9,901–10,000 of 10,000')).toBeVisible();
  await expect(page).toHaveURL(/offset=9900/);
  await page.reload();
  await expect(page.getByText('Rows 9,901–10,000 of 10,000')).toBeVisible();
});

test('a rebuilt original is announced, loaded with one click, and the edits are safe', async ({ dana, node }) => {
  const { page } = dana;
  const table = await dana.open('correct-strikes');
  await table.type('1', 'species', 'Black vulture');
  await table.saved();
  await table.type('2', 'species', 'Barn owl');
  await table.saved();

  const path = node.data('strikes.csv');
  const lines = (await readFile(path, 'utf8')).split('\n');
  const rewrite = (line: number, from: string, to: string): void => {
    expect(lines[line]).toContain(from);
    lines[line] = (lines[line] ?? '').replace(from, to);
  };
  rewrite(1, 'Turkey vulture', 'Herring gull');
  rewrite(3, lines[3]?.split(',')[9] ?? '', 'Mallard');
  await writeFile(path, lines.join('\n'));

  const banner = page.getByRole('status').filter({ hasText: 'The original dataset was rebuilt' });
  await expect(banner).toBeVisible({ timeout: 30_000 });
  await expect(table.cell('3', 'species')).not.toHaveText('Mallard');
  await banner.getByRole('button', { name: 'Load it' }).click();
  await expect(table.cell('3', 'species')).toHaveText('Mallard');
  await expect(banner).toHaveCount(0);

  const changed = table.cell('1', 'species');
  await expect(changed).toHaveText('Black vulture');
  await expect(changed).toHaveClass(/\bsg-stale\b/);
  await expect(changed.getByRole('img', { name: 'the source has changed since this edit' })).toBeVisible();
  await expect(table.cell('2', 'species')).toHaveText('Barn owl');
  await expect(table.cell('2', 'species')).not.toHaveClass(/\bsg-stale\b/);

  await page.getByRole('button', { name: 'Source changed' }).click();
  await expect(table.rowsText).toHaveText('1 of 10,000 rows');
  await changed.click();
  await page.keyboard.press('Alt+H');
  await expect(table.popup.locator('.sg-event').last()).toContainText('Herring gull');
});
