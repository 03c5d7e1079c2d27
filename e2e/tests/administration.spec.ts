import { noViolations, wcag } from '../support/axe';
import { expect, test } from '../support/test';

test('an administrator adds a user, puts them into a group and shuts them out', async ({ person, visitor, complaints }) => {
  complaints.allow(/401|422/);
  const { page } = await person('admin');
  await page.goto('/');
  await page.getByRole('button', { name: /^Account of/ }).click();
  await page.getByRole('link', { name: 'Administration' }).click();
  await expect(page.getByRole('heading', { name: 'Users', level: 1 })).toBeVisible();

  await page.getByRole('button', { name: 'Add a user' }).click();
  await page.getByLabel('Login', { exact: true }).fill('nina');
  await page.getByLabel('Password', { exact: true }).fill('short');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByRole('alert').filter({ hasText: 'at least 8 characters' })).toBeVisible();
  await page.getByLabel('Password', { exact: true }).fill('otter-saffron-lotus');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByRole('row', { name: /nina/ })).toBeVisible();

  await page.getByRole('link', { name: 'Groups' }).click();
  await page.getByRole('button', { name: 'Add a group' }).click();
  await page.getByLabel('Name', { exact: true }).fill('checkers');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByLabel('Put a user into checkers').selectOption('nina');
  await expect(page.getByRole('button', { name: 'Take nina out of checkers' })).toBeVisible();

  const other = await visitor();
  await other.goto('/');
  await other.locator('[name=username]').fill('nina');
  await other.locator('[name=password]').fill('otter-saffron-lotus');
  await other.getByRole('button', { name: 'Sign in' }).click();
  await expect(other.getByRole('button', { name: /^Account of nina/ })).toBeVisible();

  await page.getByRole('link', { name: 'Users' }).click();
  await page.getByRole('button', { name: /^Shut out ?: nina/ }).click();
  await expect(page.getByRole('row', { name: /nina/ })).toContainText('shut out');
  await other.reload();
  await expect(other.getByRole('heading', { name: 'Sign in' })).toBeVisible();

  await page.getByRole('link', { name: 'Audit trail' }).click();
  await page.getByLabel('Text').fill('nina');
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(page.getByRole('cell', { name: 'user.disable' })).toBeVisible();
});

test('a connection is added, tried and changed, and its password is never shown', async ({ person, complaints }) => {
  complaints.allow(/422/);
  const { page } = await person('admin');
  await page.goto('/admin/connections');
  await page.getByRole('button', { name: 'Add a connection' }).click();
  const form = page.getByRole('dialog', { name: 'Add a connection' });
  await form.getByLabel('Name', { exact: true }).fill('warehouse');
  await form.getByLabel('Host').fill('127.0.0.1');
  await form.getByLabel('Port').fill('1');
  await form.getByLabel('Database', { exact: true }).fill('wildlife');
  await form.getByLabel('Database user').fill('stet');
  await form.getByLabel('Password').fill('otter-saffron-lotus');
  await noViolations(page, wcag);
  await form.getByRole('button', { name: 'Add', exact: true }).click();
  const row = page.getByRole('row', { name: /warehouse/ });
  await expect(row).toContainText('stet@127.0.0.1:1/wildlife');
  await row.getByRole('button', { name: 'Test warehouse' }).click();
  await expect(row.getByRole('status')).toContainText('nobody answers there');
  await noViolations(page, wcag);

  await row.getByRole('button', { name: 'Change warehouse' }).click();
  await page.getByLabel('Host').fill('elsewhere.example');
  await expect(page.getByText('Type it again')).toBeVisible();
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await expect(page.getByRole('alert').filter({ hasText: 'give the password again' })).toBeVisible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  expect(await page.content()).not.toContain('otter-saffron-lotus');
  await row.getByRole('button', { name: 'Remove warehouse' }).click();
  await page.getByRole('button', { name: 'Remove the connection' }).click();
  await expect(page.getByText('There are no connections yet.')).toBeVisible();
});

test('somebody who is no administrator finds no administration', async ({ person }) => {
  const { page } = await person('rob');
  await page.goto('/admin/users');
  await expect(page.getByRole('heading', { name: /no such page/ })).toBeVisible();
});

test('people change their password and make tokens in their account', async ({ person, node }) => {
  const { page } = await person('rita');
  await page.goto('/account');
  await page.getByLabel('Present password').fill(node.password('rita'));
  await page.getByLabel('New password').fill('otter-saffron-lotus-basil');
  await page.getByRole('button', { name: 'Change the password' }).click();
  await expect(page.getByText('Your password is changed.')).toBeVisible();

  await page.getByRole('button', { name: 'Add a token' }).click();
  await page.getByLabel('What it is for').fill('nightly import');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByText(/^stet_[0-9a-f]{64}$/)).toBeVisible();
  await page.getByRole('button', { name: 'I have kept it' }).click();
  await page.getByRole('button', { name: /^Revoke the token nightly import/ }).click();
  await expect(page.getByRole('cell', { name: 'revoked' })).toBeVisible();
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds no fault in the administration and the account (${colorScheme})`, async ({ person }) => {
    const { page } = await person('admin', { colorScheme });
    for (const section of ['users', 'groups', 'tokens', 'audit']) {
      await page.goto(`/admin/${section}`);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      await expect(page.getByText('Loading…')).toHaveCount(0);
      await noViolations(page, wcag);
    }
    await page.goto('/admin/users');
    await page.getByRole('button', { name: 'Add a user' }).click();
    await noViolations(page, wcag);
    await page.goto('/account');
    await expect(page.getByText('this one')).toBeVisible();
    await noViolations(page, wcag);
  });
}
