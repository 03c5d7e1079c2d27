import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noViolations } from '../support/axe';
import { password, production, stet } from '../support/production';
import { expect, test } from '../support/test';

test('a project goes to production in the browser, is updated, drifts and goes back, and its edits stay', async ({
  node,
  person,
  visitor,
  complaints,
}) => {
  test.setTimeout(180_000);
  // Before the first activation there is no such project on the other node; while its files are broken it has no name.
  complaints.allow(/status of 404 .*\/api\/v1\/projects\/BIRDSTRIKES\)$/);
  complaints.allow(/status of 409 .*\/api\/v1\/projects\/BIRDSTRIKES\)$/);
  // A name that is none is refused, once.
  complaints.allow(/status of 422 .*\/api\/v1\/deploy-tokens\)$/);
  const key = join(node.folder, 'quinn.key');
  const known = stet(node, 'bundle', 'keygen', '--output', key, '--name', 'quinn').trim();
  const approvers = `persons_min = 1\n[[deploy.approvers]]\nlogin = "quinn"\nkey = "${known}"`;
  const other = await production(node, approvers);
  try {
    const { page } = await person('admin');
    const there = await visitor({ baseURL: other.url });
    const answer = await there.request.post('/api/v1/session', { data: { login: 'ada', password } });
    expect(answer.status()).toBe(200);

    // The two nodes come to know each other.
    await there.goto('/admin/tokens');
    await expect(there.getByText('There are no deploy tokens.')).toBeVisible();
    await there.getByRole('button', { name: 'Add a deploy token' }).click();
    const adding = there.getByRole('dialog', { name: 'Add a deploy token' });
    await adding.getByLabel('Name').fill('two words');
    await adding.getByRole('button', { name: 'Add', exact: true }).click();
    await expect(adding.getByRole('alert')).toContainText('letters, digits');
    await adding.getByLabel('Name').fill('design-node');
    await adding.getByLabel('For which projects').fill('BIRDSTRIKES');
    await noViolations(there);
    await adding.getByRole('button', { name: 'Add', exact: true }).click();
    const made = there.getByRole('dialog', { name: 'The deploy token design-node' });
    await expect(made.locator('dd')).toHaveCount(3);
    const told = await made.locator('dd').allTextContents();
    expect(told[2]).toMatch(/^stetd_/);
    await noViolations(there);
    await made.getByRole('button', { name: 'I have copied it' }).click();
    await expect(there.getByText(told[2] ?? '')).toHaveCount(0);
    await expect(there.getByRole('row', { name: /design-node/ })).toContainText('nothing else');
    await page.goto('/admin/targets');
    await page.getByRole('button', { name: 'Add a target' }).click();
    await page.getByLabel('Name').fill('Production');
    await page.getByLabel('Address').fill(other.url);
    await page.getByLabel('Id of the node').fill(told[1] ?? '');
    await page.getByLabel('Deploy token').fill(told[2] ?? '');
    await page.getByRole('button', { name: 'Add', exact: true }).click();

    const send = async (notes: string, sequence: number): Promise<void> => {
      await page.goto('/projects/BIRDSTRIKES/deployment');
      await page.getByRole('button', { name: 'Make a bundle' }).click();
      await page.getByLabel('Release notes').fill(notes);
      await page.getByRole('button', { name: 'Make it' }).click();
      const row = page.locator('tbody tr').filter({ hasText: notes });
      await row.getByRole('button', { name: 'Send' }).click();
      const dialog = page.getByRole('dialog', { name: `Send bundle ${sequence} to another node` });
      await dialog.getByRole('button', { name: 'Send it' }).click();
      await expect(dialog).toContainText(`Bundle ${sequence} has arrived on Production`);
    };
    /** Plans a bundle, brings the approval that it lacks, and gives the dialog. */
    const planned = async (sequence: number) => {
      await there.goto('/projects/BIRDSTRIKES/deployment');
      await there.locator('tbody tr').first().getByRole('button', { name: 'Plan' }).click();
      const plan = there.getByRole('dialog', { name: `What activating bundle ${sequence} does` });
      await expect(plan).toContainText('this bundle is not approved: 0 of 1 approvals are there');
      await expect(plan.getByRole('button', { name: 'Activate' })).toBeDisabled();
      const { bundles } = JSON.parse(stet(other, 'bundle', 'list', 'BIRDSTRIKES', '--format', 'json')) as {
        bundles: { path: string }[];
      };
      const file = join(node.folder, `${sequence}.approval`);
      const approve = ['--key', key, '--target', 'Production', '--feedback', 'approve', '--output', file];
      stet(node, 'bundle', 'approve', bundles[0]?.path ?? '', ...approve);
      await plan.locator('input[type=file]').setInputFiles(file);
      await expect(plan).toContainText('quinn approves');
      await expect(plan.getByRole('button', { name: 'Activate' })).toBeEnabled();
      // Nothing is built: it takes its time, and is tried elsewhere.
      for (const box of await plan.getByRole('checkbox').all()) await box.uncheck();
      return plan;
    };
    await send('First release', 1);
    await (await planned(1)).getByRole('button', { name: 'Activate' }).click();
    await expect(there.getByText('Bundle 1 is active.')).toBeVisible();

    // Edits in production, which an update would no longer apply: the plan shows them.
    const edited = await there.request.post('/api/v1/projects/BIRDSTRIKES/webapps/correct-strikes/edits', {
      data: { source: 'grid', edits: [{ action: 'update', key: '1', column: 'species', value: 'Marsh hawk' }] },
    });
    expect(edited.status()).toBe(200);
    const webapp = join(node.folder, 'projects/BIRDSTRIKES/webapps/correct-strikes.toml');
    const before = await readFile(webapp, 'utf8');
    const after = before.replace(/\[\[editable\]\]\ncolumn = "species"\n(?:.+\n)*/, '');
    expect(after).not.toBe(before);
    await writeFile(webapp, after);
    await send('Species stay as reported', 2);
    const plan = await planned(2);
    await expect(plan).toContainText('1 of 1 logged edits of strikes no longer apply');
    await plan.getByRole('button', { name: 'Show them of strikes' }).click();
    const rows = plan.getByRole('region', { name: 'Edits of strikes that would no longer fit' });
    await expect(rows.getByRole('row')).toHaveCount(2);
    await expect(rows.getByRole('row').last()).toContainText('Marsh hawk');
    await expect(rows.getByRole('row').last()).toContainText('the column cannot be edited');
    await noViolations(there);
    await there.setViewportSize({ width: 390, height: 844 });
    const wide = await there.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide).toBeLessThanOrEqual(0);
    await noViolations(there);
    await there.setViewportSize({ width: 1440, height: 900 });
    await plan.getByRole('button', { name: 'Activate' }).click();
    await expect(there.getByText('Bundle 2 is active.')).toBeVisible();

    // Somebody changes what was deployed: it is shown item by item.
    await writeFile(join(other.folder, 'projects/BIRDSTRIKES/recipes/suggest_airports.sql'), 'SELECT 1 AS n');
    await there.goto('/projects/BIRDSTRIKES/deployment');
    await expect(there.getByText('Changed on this node', { exact: true })).toBeVisible();
    await expect(there.getByText('recipes/suggest_airports.sql was changed').first()).toBeVisible();
    await noViolations(there);

    // Back to the first one, after a look at what that does; the edit was there all the time.
    const first = there.locator('tbody tr').filter({ hasText: 'First release' });
    await first.getByRole('button', { name: 'Go back to it' }).click();
    const back = there.getByRole('dialog', { name: 'What going back to bundle 1 does' });
    await expect(back).toContainText('1 event, all stay');
    for (const box of await back.getByRole('checkbox').all()) await box.uncheck();
    await noViolations(there);
    await back.getByRole('button', { name: 'Go back' }).click();
    await expect(there.getByText('Bundle 1 is active again. Edits are untouched.')).toBeVisible();
    await expect(there.getByText('Changed on this node', { exact: true })).toHaveCount(0);
    const cell = await there.request.post('/api/v1/projects/BIRDSTRIKES/webapps/correct-strikes/rows/query', {
      data: { limit: 1 },
    });
    expect(await cell.text()).toContain('Marsh hawk');

    // A token that is revoked opens nothing more.
    await there.goto('/admin/tokens');
    await there.getByRole('button', { name: 'Revoke the deploy token design-node' }).click();
    const revoking = there.getByRole('dialog', { name: 'Revoke the deploy token design-node?' });
    await noViolations(there);
    await revoking.getByRole('button', { name: 'Revoke the token' }).click();
    await expect(there.getByRole('row', { name: /design-node/ })).toContainText('revoked');
    await page.goto('/admin/targets');
    await page.getByRole('button', { name: 'Test Production' }).click();
    await expect(page.getByText('the deploy token is not good here')).toBeVisible();
    await page.setViewportSize({ width: 390, height: 844 });
    const frame = page.locator('.frame');
    expect(await frame.evaluate((element) => element.scrollWidth - element.clientWidth)).toBeLessThanOrEqual(0);
    await noViolations(page);
  } finally {
    await other.remove();
  }
});
