import type { Page } from '@playwright/test';
import { noViolations } from '../support/axe';
import { expect, test } from '../support/test';

/** The status of the node with editlogs in databases, places to push to and a receiver of the audit trail. */
async function told(page: Page): Promise<void> {
  const date = new Date().toISOString();
  const log = { project: 'BIRDSTRIKES', dataset: 'strikes', mode: 'secure', events: 1200, sealed: 1200, behind_ms: null };
  const editlogs = [
    { ...log, protection: [], alarm: null, checked_at: date },
    { ...log, dataset: 'airports', mode: 'simple', sealed: 1000, protection: ['the node may UPDATE'], alarm: null, checked_at: date },
    { ...log, dataset: 'gone', mode: null, events: null, sealed: null, protection: [], alarm: 'its database is away', checked_at: null },
  ];
  const place = { place: '/mnt/audit', kind: 'folder', size: null, reached_at: date, failure: null, failing_since: null };
  const pushes = [
    place,
    { ...place, place: 's3://audit/stet', kind: 's3', reached_at: null, failure: 'cannot be reached', failing_since: date },
  ];
  const audit = [{ to: 'tcp://logs:601', shipped: 7, waiting: 12, failure: null, failing_since: null, late: true }];
  await page.route('**/api/v1/status', async (route) => {
    const answer = await route.fetch();
    const status = (await answer.json()) as Record<string, unknown>;
    await route.fulfill({ response: answer, json: { ...status, editlogs, pushes, audit } });
  });
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`the status tells how editlogs, pushes and the audit trail stand (${colorScheme})`, async ({ person }) => {
    const { page } = await person('admin', { colorScheme });
    await told(page);
    await page.goto('/status');
    const logs = page.getByRole('region', { name: 'Editlogs in databases' });
    const rows = logs.locator('tbody tr');
    await expect(rows).toHaveCount(3);
    await expect(rows.nth(0)).toContainText('securely');
    await expect(rows.nth(0)).toContainText('1,200');
    await expect(rows.nth(0)).toContainText('as it was made');
    await expect(rows.nth(1)).toContainText('the node may UPDATE');
    await expect(rows.nth(2)).toContainText('its database is away');
    await expect(rows.nth(2)).toContainText('never');
    const pushes = page.getByRole('region', { name: 'Places that checkpoints are pushed to' }).locator('tbody tr');
    await expect(pushes.nth(0)).toContainText('as it should be');
    await expect(pushes.nth(1)).toContainText('cannot be reached');
    await expect(page.getByRole('region', { name: 'The audit trail, shipped' })).toContainText('entries wait for more than a minute');
    await noViolations(page);
  });
}
