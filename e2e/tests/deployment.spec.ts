import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noViolations } from '../support/axe';
import { expect, test } from '../support/test';

for (const colorScheme of ['light', 'dark'] as const) {
  test(`a bundle is made, compared, planned and downloaded in the browser (${colorScheme})`, async ({
    node,
    person,
  }) => {
    const { page } = await person('admin', { colorScheme });
    await page.goto('/projects/BIRDSTRIKES/deployment');
    await expect(page.getByText('None yet. A bundle carries the definition')).toBeVisible();
    await noViolations(page);
    await page.getByRole('button', { name: 'Make a bundle' }).click();
    const dialog = page.getByRole('dialog', { name: 'Make a bundle' });
    await expect(dialog.getByLabel('Release notes')).toBeFocused();
    await dialog.getByLabel('Release notes').fill('First release');
    await dialog.getByLabel('Taken until the end of').fill('2120-12-31');
    await dialog.getByLabel('airports').check();
    await noViolations(page);
    const made = page.waitForResponse((answer) => answer.url().endsWith('/bundles') && answer.request().method() === 'POST');
    await dialog.getByRole('button', { name: 'Make it' }).click();
    await expect(dialog).toBeHidden();
    const { digest } = (await (await made).json()) as { digest: string };
    const about = (await (await page.request.get(`/api/v1/bundles/${digest}`)).json()) as {
      expires: string;
      files: { path: string }[];
    };
    expect(about.expires).toMatch(/^2120-12-31T23:59:59/);
    expect(about.files.map(({ path }) => path)).toContainEqual(expect.stringMatching(/airports/));
    const rows = page.locator('tbody tr');
    await expect(rows).toHaveCount(1);
    await expect(rows).toContainText('First release');

    // A second one with a change: the difference is shown object by object.
    const file = join(node.folder, 'projects/BIRDSTRIKES/webapps/correct-strikes.toml');
    await writeFile(file, (await readFile(file, 'utf8')).replace('"Correct strikes"', '"Correct bird strikes"'));
    await page.getByRole('button', { name: 'Make a bundle' }).click();
    await dialog.getByLabel('Release notes').fill('A better title');
    await dialog.getByRole('button', { name: 'Make it' }).click();
    await expect(rows).toHaveCount(2);
    await rows.first().getByRole('button', { name: 'Changes' }).click();
    const changes = page.getByRole('dialog', { name: /^Bundle 2 against bundle 1/ });
    await expect(changes).toContainText('Correct bird strikes');
    await expect(changes).toContainText('correct-strikes');
    await noViolations(page);
    await page.keyboard.press('Escape');

    const download = page.waitForEvent('download');
    await rows.first().getByRole('link', { name: 'Download' }).click();
    expect((await download).suggestedFilename()).toMatch(/\.bundle$/);
  });
}

test('a scenario is run in the browser, with its history and its log', async ({ person, api }) => {
  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  const { page } = await person('dana');
  await page.goto('/projects/BIRDSTRIKES/scenarios');
  const commit = page.locator('li.card', { hasText: /Commit edits/i }).filter({ hasText: /strikes/i }).first();
  await noViolations(page);
  await commit.getByRole('button', { name: /^Run/ }).click();
  const run = page.locator('.runs li').first();
  await expect(run).toContainText(/Done|Succeeded|Finished/i, { timeout: 30_000 });
  await run.getByRole('button', { name: 'Log' }).click();
  await expect(page.getByRole('dialog')).toContainText('strikes_edited');
  await noViolations(page);
});
