import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noViolations } from '../support/axe';
import type { StetNode } from '../support/node';
import { expect, test } from '../support/test';

/** Puts a line in front of a webapp's settings, while the server runs. */
async function setting(node: StetNode, webapp: string, line: string): Promise<void> {
  const file = join(node.folder, 'projects/BIRDSTRIKES/webapps', `${webapp}.toml`);
  await writeFile(file, `${line}\n${await readFile(file, 'utf8')}`);
}

test('a table that asks why takes the reason once for all changes, or keeps a draft', async ({ node, dana, api }) => {
  await setting(node, 'correct-strikes', 'edits = { require_reason = true }');
  const table = await dana.open('correct-strikes');
  const { page } = dana;
  await table.type('1', 'comments', 'Near the tower');
  const dialog = page.getByRole('dialog', { name: 'Why this change?' });
  await expect(dialog.getByLabel(/^Reason/)).toBeFocused();
  await noViolations(page);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByRole('alert')).toContainText('Say why first');
  await dialog.getByLabel(/^Reason/).fill('Call with the tower');
  await page.keyboard.press('Tab');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toBeHidden();
  await table.saved();

  await table.type('2', 'comments', 'Near the tower too');
  await table.saved();
  await expect(page.getByText('Reason for your changes: Call with the tower')).toBeVisible();
  for (const key of ['1', '2']) {
    const { events } = await api.history('correct-strikes', key, 'comments');
    expect(events[0]).toMatchObject({ reason: 'Call with the tower' });
  }

  await page.getByRole('button', { name: 'Ask me again' }).click();
  await table.type('3', 'comments', 'Nobody knows why');
  await page.getByRole('button', { name: 'Keep as a draft' }).click();
  await expect(page.getByText('1 draft needs you')).toBeVisible();
  expect(await api.value('correct-strikes', '3', 'comments')).not.toBe('Nobody knows why');
});

test('a validation is signed with the password, and a wrong one signs nothing', async ({ node, dana, api }) => {
  await setting(node, 'review-matches', 'edits = { sign_validations = true }');
  const table = await dana.open('review-matches');
  const { page } = dana;
  const [key = ''] = await table.keys(1);
  await table.goTo(key, 'reviewed');
  await page.keyboard.press('Space');
  const dialog = page.getByRole('dialog', { name: 'Sign your validation' });
  await dialog.getByLabel('Password').fill('not the password');
  await page.keyboard.press('Enter');
  await expect(dialog.getByRole('alert')).toContainText('the password is wrong');
  await dialog.getByLabel('Password').fill(node.password('dana'));
  await dialog.getByRole('button', { name: 'Sign' }).click();
  await expect(dialog).toBeHidden();
  await table.saved();
  const { events } = await api.history('review-matches', key, 'reviewed');
  expect(events).toHaveLength(1);
  expect(events[0]).toMatchObject({ user: 'dana', value: 'true', reason: 'Signed with the password' });
});

test('the table is shown as it stood after an edit, and nothing can be edited there', async ({ dana, api }) => {
  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  await api.edit('correct-strikes', '1', 'species', 'Canada goose', 1);
  const { page } = dana;
  await page.goto('/projects/BIRDSTRIKES/webapps/correct-strikes/log');
  await page.getByRole('link', { name: '1', exact: true }).click();
  await expect(page.getByText('The table as it stood after edit 1')).toBeVisible();
  const cell = page.locator('.sg-row[data-key="1"] [data-column="species"]');
  await expect(cell).toHaveText(/Black vulture/);
  await cell.dblclick();
  await expect(page.locator('.sg-editor:not(.sg-idle) .sg-field:visible')).toHaveCount(0);
  await noViolations(page);
  await page.getByRole('link', { name: 'Back to now' }).click();
  await expect(cell).toHaveText(/Canada goose/);
});
