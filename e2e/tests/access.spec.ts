import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noViolations } from '../support/axe';
import { expect, test } from '../support/test';

const project = (folder: string): Promise<string> =>
  readFile(join(folder, 'projects/BIRDSTRIKES/project.toml'), 'utf8');

for (const colorScheme of ['light', 'dark'] as const) {
  test(`permissions are given and taken in the browser, and the file keeps the rest (${colorScheme})`, async ({
    node,
    person,
  }) => {
    const before = await project(node.folder);
    const { page } = await person('admin', { colorScheme });
    await page.goto('/projects/BIRDSTRIKES');
    await page.getByRole('link', { name: 'Access' }).click();
    await expect(page.getByRole('heading', { name: 'Access', exact: true })).toBeFocused();
    await expect(page.getByRole('row', { name: /^everyone/ })).toBeVisible();
    await noViolations(page);
    const save = page.getByRole('button', { name: 'Save' });
    await expect(save).toBeDisabled();

    await page.getByLabel('Login of a user to add').fill('rita');
    await page.keyboard.press('Enter');
    const rita = page.getByRole('row', { name: /^rita/ });
    await rita.getByLabel('See data: rita').check();
    // What it brings along is shown, and cannot be taken by itself.
    await expect(rita.getByLabel('Use webapps: rita')).toBeDisabled();
    await save.click();
    await expect(page.getByText('Saved. It holds at once.')).toBeVisible();
    await expect(save).toBeDisabled();
    const after = await project(node.folder);
    expect(after).toContain('rita = [');
    expect(after.split('\n')[0]).toBe(before.split('\n')[0]);
    await page.reload();
    await expect(rita.getByLabel('See data: rita')).toBeChecked();

    await rita.getByRole('button', { name: 'Take rita out' }).click();
    await save.click();
    await expect(rita).toBeHidden();
    await expect.poll(() => project(node.folder)).not.toContain('rita = [');
  });

  test(`a webapp is given to a list in the browser (${colorScheme})`, async ({ person, complaints }) => {
    complaints.allow(/status of 404 .*webapps\/correct-strikes\)$/);
    const { page } = await person('admin', { colorScheme });
    const { page: rita } = await person('rita');
    await rita.goto('/projects/BIRDSTRIKES/webapps/correct-strikes');
    await expect(rita.getByRole('grid')).toBeVisible();

    await page.goto('/projects/BIRDSTRIKES/access');
    const row = page.getByRole('row', { name: /correct-strikes/ });
    await row.getByRole('button', { name: /^Change/ }).click();
    const dialog = page.getByRole('dialog', { name: /^Who may use/ });
    await expect(dialog.getByLabel('Groups that see and edit')).toBeFocused();
    await dialog.getByLabel('Users who see and edit').fill('dana');
    await dialog.getByLabel('Visitors without a login').selectOption('edit');
    await expect(dialog.getByText('edits as the user “none”')).toBeVisible();
    await dialog.getByLabel('Visitors without a login').selectOption('no');
    await noViolations(page);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await expect(dialog).toBeHidden();
    await expect(row).toContainText('dana');
    await rita.reload();
    await expect(rita.getByRole('grid')).toBeHidden();
    await expect(rita.getByText(/does not exist|no access|There is no/)).toBeVisible();
  });
}

test('somebody who does not administer the project is not offered its permissions', async ({ person, complaints }) => {
  complaints.allow(/status of 403 .*\/access\)$/);
  const { page } = await person('rita');
  await page.goto('/projects/BIRDSTRIKES');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Access' })).toHaveCount(0);
  await page.goto('/projects/BIRDSTRIKES/access');
  await expect(page.getByText(/permission `?administer`?|no access|may not/)).toBeVisible();
});
