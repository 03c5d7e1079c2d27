import { noViolations } from '../support/axe';
import { password, production, stet } from '../support/production';
import { expect, test } from '../support/test';

for (const colorScheme of ['light', 'dark'] as const) {
  test(`a bundle is sent to another node, planned, activated and built there (${colorScheme})`, async ({
    node,
    person,
    visitor,
    complaints,
  }) => {
    // Before the first activation there is no such project on the other node.
    complaints.allow(/status of 404 .*\/api\/v1\/projects\/BIRDSTRIKES\)$/);
    const other = await production(node);
    try {
      const said = JSON.parse(
        stet(other, 'deploy', 'token', 'add', 'design-node', '--project', 'BIRDSTRIKES', '--format', 'json'),
      ) as { token: string; node_id: string };
      const { page } = await person('admin', { colorScheme });
      await page.goto('/admin/targets');
      await expect(page.getByText('There are no targets yet.')).toBeVisible();
      await noViolations(page);
      await page.getByRole('button', { name: 'Add a target' }).click();
      await page.getByLabel('Name').fill('Production');
      await page.getByLabel('Address').fill(other.url);
      await page.getByLabel('Id of the node').fill(said.node_id);
      await page.getByLabel('Deploy token').fill(said.token);
      await noViolations(page);
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.getByRole('button', { name: 'Test Production' }).click();
      await expect(page.getByText('It is Production, Stet')).toBeVisible();
      await noViolations(page);

      await page.goto('/projects/BIRDSTRIKES/deployment');
      await page.getByRole('button', { name: 'Make a bundle' }).click();
      await page.getByLabel('Release notes').fill('First release');
      await page.getByRole('button', { name: 'Make it' }).click();
      await page.getByRole('button', { name: 'Send' }).click();
      const dialog = page.getByRole('dialog', { name: 'Send bundle 1 to another node' });
      await noViolations(page);
      // The token may bring bundles alone: the answer is the other node's.
      await dialog.getByRole('checkbox').check();
      await dialog.getByRole('button', { name: 'Send it' }).click();
      await expect(dialog.getByRole('alert')).toContainText('Production says: This deploy token brings bundles');
      await noViolations(page);
      await dialog.getByRole('checkbox').uncheck();
      await dialog.getByRole('button', { name: 'Send it again' }).click();
      await expect(dialog).toContainText('Bundle 1 was already on Production.');
      await noViolations(page);

      const there = await visitor({ colorScheme, baseURL: other.url });
      const answer = await there.request.post('/api/v1/session', {
        data: { login: 'ada', password },
      });
      expect(answer.status()).toBe(200);
      await there.goto('/projects');
      await expect(there.getByText('1 bundle of BIRDSTRIKES has arrived')).toBeVisible();
      await noViolations(there);
      await there.getByRole('link', { name: 'Look at the deployment' }).click();
      await there.getByRole('button', { name: 'Plan' }).click();
      const plan = there.getByRole('dialog', { name: 'What activating bundle 1 does' });
      await expect(plan.getByRole('checkbox', { name: 'strikes_edited' })).toBeChecked();
      await noViolations(there);
      // One dataset is enough here, and the quickest of them.
      for (const box of await plan.getByRole('checkbox').all()) await box.uncheck();
      await plan.getByRole('checkbox', { name: 'strikes_edited' }).check();
      await plan.getByRole('button', { name: 'Activate' }).click();
      const building = there.getByRole('dialog', { name: 'Bundle 1 is active' });
      await expect(building.locator('li', { hasText: 'strikes_edited' })).toContainText('Finished', { timeout: 60_000 });
      await expect(building.getByText('Finished')).toHaveCount(await building.locator('li').count(), { timeout: 60_000 });
      await noViolations(there);
      await there.goto('about:blank');
    } finally {
      await other.remove();
    }
  });
}
