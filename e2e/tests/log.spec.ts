import type { Page } from '@playwright/test';
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

/** What `log/seal` answers, changed as a test wants it. */
async function sealed(page: Page, change: (seal: Record<string, unknown>) => void): Promise<void> {
  await page.route('**/log/seal', async (route) => {
    const answer = await route.fetch();
    const seal = (await answer.json()) as Record<string, unknown>;
    change(seal);
    await route.fulfill({ response: answer, json: seal });
  });
}

test('the page of edits tells up to where the log is sealed, and has it verified', async ({ dana, api }) => {
  const { page } = dana;
  await page.goto(log);
  const seal = page.getByRole('region', { name: 'Seal of the log' });
  await expect(seal).toContainText('There is nothing to seal yet');
  await seal.getByText('There is nothing to seal yet').click();
  await expect(seal.getByRole('button', { name: 'Verify now' })).toBeDisabled();

  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  await api.edit('correct-strikes', '2', 'species', 'Black vulture');
  await page.reload();
  await expect(seal).toContainText('All 2 edits are sealed');
  await expect(seal).toContainText('kept nowhere else');
  await seal.getByText('All 2 edits are sealed').click();
  await expect(seal).toContainText(/the first 2 edits, up to .*, root hash [A-Za-z0-9+/]{12}…/);
  await expect(seal).toContainText('Nobody has verified it since the node started');
  await seal.getByRole('button', { name: 'Verify now' }).click();
  await expect(seal).toContainText('Verified: every edit is as it was sealed');
  await expect(seal).toContainText('by dana, just now');
  await expect(seal).toContainText('compared with nothing kept elsewhere');
});

test('a place that cannot be reached and a log that was changed are told in plain words', async ({ dana, api, complaints }) => {
  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  const { page } = dana;
  const seal = page.getByRole('region', { name: 'Seal of the log' });
  const reached = new Date().toISOString();
  const pushes = [
    { place: 's3://audit/stet', kind: 's3', size: 1, reached_at: reached, failure: 'cannot be reached', failing_since: reached },
    { place: 'witness w.example', kind: 'witness', size: 1, reached_at: reached, failure: null, failing_since: null },
  ];
  await sealed(page, (answer) => (answer.pushes = pushes));
  await page.goto(log);
  await expect(seal).toContainText('Checkpoints could not be kept elsewhere the last time');
  await seal.locator('summary').click();
  await expect(seal).toContainText('The last push failed, first just now: cannot be reached');
  await expect(seal).toContainText('witness w.example has signed the first 1 edit');

  await page.unroute('**/log/seal');
  const verification = {
    started_by: 'dana',
    started_at: reached,
    ended_at: reached,
    done: 1,
    all: 1,
    state: 'not_whole',
    told: ['MODIFIED: event 1 is not as it was sealed'],
  };
  await sealed(page, (answer) => Object.assign(answer, { verification, protection: ['a trigger is missing'] }));
  await page.reload();
  await expect(seal).toContainText('This log is not as it was sealed');
  await expect(seal).toContainText('MODIFIED: event 1 is not as it was sealed');
  await expect(seal).toContainText('a trigger is missing');

  await page.unroute('**/log/seal');
  complaints.allow(/503/);
  await page.route('**/log/seal', (route) =>
    route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"title":"Unavailable","status":503}' }),
  );
  await page.reload();
  await expect(seal.getByRole('button', { name: 'Try again' })).toBeVisible();
  await page.unroute('**/log/seal');
  await seal.getByRole('button', { name: 'Try again' }).click();
  await expect(seal).toContainText('The only edit is sealed');
});

test('a verification shows how far it is and is cancelled', async ({ dana, api }) => {
  await api.edit('correct-strikes', '1', 'species', 'Black vulture');
  const { page } = dana;
  const seal = page.getByRole('region', { name: 'Seal of the log' });
  const started = new Date().toISOString();
  const running = { started_by: 'dana', started_at: started, ended_at: null, done: 400, all: 1000, state: 'running', told: [] };
  let asked = '';
  await sealed(page, (answer) => (answer.verification = asked === 'DELETE' ? { ...running, state: 'cancelled' } : running));
  await page.route('**/log/verification', async (route) => {
    asked = route.request().method();
    await route.continue();
  });
  await page.goto(log);
  await expect(seal.getByRole('progressbar', { name: 'Edits verified' })).toHaveAttribute('value', '400');
  await expect(seal).toContainText('400 of 1,000 edits');
  await seal.getByRole('button', { name: 'Cancel' }).click();
  await expect(seal).toContainText('The verification was cancelled');
});
