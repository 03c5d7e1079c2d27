import { expect, test } from '../support/test';
import { Table } from '../support/table';

const asked = Table.path('correct-strikes', '?sort=desc:speed_knots&contains:species=gull');

test('nothing is shown and nothing is told before somebody signs in', async ({ visitor }) => {
  const page = await visitor();
  await page.goto(asked);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await expect(page.getByRole('grid')).toHaveCount(0);
  await expect(page.locator('body')).not.toContainText(/bird|strike/i);
  for (const path of ['projects', 'projects/BIRDSTRIKES/flow', 'projects/BIRDSTRIKES/webapps/correct-strikes']) {
    const answer = await page.request.get(`/api/v1/${path}`);
    expect(answer.status(), path).toBe(401);
    expect(await answer.text(), path).not.toMatch(/strike_id|airport/);
  }
});

test('a wrong password is refused in words, and the login is kept', async ({ visitor }) => {
  const page = await visitor();
  await page.goto('/');
  await page.locator('[name=username]').fill('dana');
  await page.locator('[name=password]').fill('otter-saffron-lotus-basil');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText(/password/i);
  await expect(page.locator('[name=username]')).toHaveValue('dana');
  await expect(page.locator('[name=password]')).toBeFocused();
  await expect(page).toHaveURL(/\/signin/);
});

test('a field left blank is asked for before the server is', async ({ visitor }) => {
  const page = await visitor();
  await page.goto('/signin');
  await page.locator('[name=username]').fill('dana');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('alert')).toHaveText('Type your password.');
});

test('signing in leads to the page that was asked for, with its filters and sorting', async ({ visitor, node }) => {
  const page = await visitor();
  await page.goto(asked);
  await page.locator('[name=username]').fill('dana');
  await page.locator('[name=password]').fill(node.password('dana'));
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(`${node.url}${asked}`);
  await expect(page.getByRole('heading', { name: 'Correct strikes' })).toBeVisible();
  await expect(page.getByRole('status').filter({ hasText: '168 of 10,000 rows' })).toBeVisible();
});

test('signing out ends the session, also for the Back button', async ({ dana }) => {
  const { page } = dana;
  await dana.open('review-matches');
  await page.getByRole('button', { name: /Account of/ }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  expect((await page.request.get('/api/v1/projects')).status()).toBe(401);
  await page.goBack();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await expect(page.getByRole('grid')).toHaveCount(0);
});

test('a script that got into a page does not run, and Chromium reports it', async ({ visitor, complaints }) => {
  complaints.allow(/content policy: script-src|Content Security Policy/i);
  const page = await visitor();
  await page.goto('/signin');
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    document.head.append(script);
    const image = document.createElement('img');
    image.setAttribute('onerror', 'window.ran = true');
    image.src = 'data:,';
    document.body.append(image);
  });
  await expect
    .poll(() => complaints.all.filter((complaint) => complaint.startsWith('content policy: script-src')).length)
    .toBeGreaterThan(0);
  expect(await page.evaluate(() => 'ran' in window)).toBe(false);
});
