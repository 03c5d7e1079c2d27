import type { Page } from '@playwright/test';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noViolations } from '../support/axe';
import { StetNode } from '../support/node';
import { password, production, stet } from '../support/production';
import { expect, test } from '../support/test';

/** Gives a page an authenticator that looks who uses it, as a laptop with a fingerprint reader has. */
async function authenticator(page: Page): Promise<{ verifies: (does: boolean) => Promise<void> }> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    verifies: async (isUserVerified) => {
      await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified });
    },
  };
}

/** Addresses of numbers have no passkeys. */
const named = (url: string): string => url.replace('127.0.0.1', 'localhost');

/** Makes a passkey, and gives the recovery codes that come with the first one. */
async function makePasskey(page: Page, name: string, secret: string): Promise<string[]> {
  await page.goto('/account');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByLabel('A name for it').fill(name);
  await page.getByLabel('Your password').fill(secret);
  await noViolations(page);
  await page.getByRole('button', { name: 'Make it' }).click();
  // With the first second factor come recovery codes, shown this once.
  await expect(page.getByText('Your passkey is in force.')).toBeVisible();
  await noViolations(page);
  const codes = await page.locator('.codes code').allInnerTexts();
  await page.getByRole('button', { name: 'I have kept them' }).click();
  await expect(page.getByRole('button', { name: `Remove ${name}` })).toBeVisible();
  await expect(page.getByText(`Recovery codes left: ${codes.length}`)).toBeVisible();
  return codes;
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`a passkey is made, asked for at sign-in, and removed (${colorScheme})`, async ({ node, visitor, complaints }) => {
    complaints.allow(/status of (401|422) .*\/api\/v1\/session/);
    const page = await visitor({ colorScheme, baseURL: named(node.url) });
    const { verifies } = await authenticator(page);
    const signIn = async (): Promise<void> => {
      await page.goto('/signin');
      await page.locator('[name=username]').fill('rita');
      await page.locator('[name=password]').fill(node.password('rita'));
      await page.getByRole('button', { name: 'Sign in' }).click();
    };
    await signIn();
    await expect(page.getByRole('button', { name: /^Account of Rita/ })).toBeVisible();
    await makePasskey(page, 'Laptop', node.password('rita'));
    await noViolations(page);
    await page.request.delete('/api/v1/session');

    await signIn();
    const use = page.getByRole('button', { name: 'Use a passkey' });
    await expect(use).toBeVisible();
    await expect(page.getByLabel('Code')).toBeHidden();
    await noViolations(page);
    // Somebody else's finger: the browser gives no answer, and the next attempt has a question of its own.
    await verifies(false);
    await use.click();
    await expect(page.getByRole('alert').filter({ hasText: 'The passkey was not used' })).toBeVisible();
    await verifies(true);
    await use.click();
    await expect(page.getByRole('button', { name: /^Account of Rita/ })).toBeVisible();

    await page.goto('/account');
    await page.getByRole('button', { name: 'Remove Laptop' }).click();
    await page.getByLabel('Your password').fill(node.password('rita'));
    await page.getByRole('button', { name: 'Remove it' }).click();
    await expect(page.getByRole('button', { name: 'Remove Laptop' })).toBeHidden();
  });
}

test('whoever has lost the passkey gets in by a recovery code, and makes new ones', async ({ node, visitor, complaints }) => {
  complaints.allow(/status of (401|422) .*\/api\/v1\/(session|account\/second-factor)/);
  const page = await visitor({ baseURL: named(node.url) });
  await authenticator(page);
  const signedIn = await page.request.post('/api/v1/session', { data: { login: 'rita', password: node.password('rita') } });
  expect(signedIn.status()).toBe(200);
  const [first = '', second = ''] = await makePasskey(page, 'Phone', node.password('rita'));

  // Another computer, where the passkey is not.
  const other = await visitor({ baseURL: named(node.url) });
  const password = async (): Promise<void> => {
    await other.goto('/signin');
    await other.locator('[name=username]').fill('rita');
    await other.locator('[name=password]').fill(node.password('rita'));
    await other.getByRole('button', { name: 'Sign in' }).click();
    await other.getByRole('button', { name: 'Use a recovery code' }).click();
    await expect(other.getByLabel('Recovery code')).toBeFocused();
  };
  await password();
  await noViolations(other);
  await other.getByLabel('Recovery code').fill('not-a-code');
  await other.keyboard.press('Enter');
  await expect(other.getByRole('alert').filter({ hasText: 'This code is not right' })).toBeVisible();
  await other.getByLabel('Recovery code').fill(first);
  await other.keyboard.press('Enter');
  await expect(other.getByRole('button', { name: /^Account of Rita/ })).toBeVisible();

  await other.goto('/account');
  await expect(other.getByText('Recovery codes left: 9')).toBeVisible();
  await other.getByRole('button', { name: 'Make new recovery codes' }).click();
  await other.getByLabel('Your password').fill(node.password('rita'));
  await noViolations(other);
  await other.getByRole('button', { name: 'Make them' }).click();
  await expect(other.getByText('Only these open now.')).toBeVisible();
  await other.getByRole('button', { name: 'I have kept them' }).click();
  await expect(other.getByText('Recovery codes left: 10')).toBeVisible();
  const old = await other.request.post('/api/v1/session', {
    data: { login: 'rita', password: node.password('rita'), code: second },
  });
  expect(old.status()).toBe(401);
});

test('a bundle is approved with a passkey, and then activated', async ({ node, visitor, complaints, api }) => {
  complaints.allow(/status of 404 .*\/api\/v1\/projects\/BIRDSTRIKES\)$/);
  let other = await production(node, 'persons_min = 1');
  try {
    const page = await visitor({ baseURL: named(other.url) });
    await authenticator(page);
    const answer = await page.request.post('/api/v1/session', { data: { login: 'ada', password } });
    expect(answer.status()).toBe(200);
    await makePasskey(page, 'Laptop', password);
    await page.getByText('Key for approvals').click();
    const key = await page.locator('code.key').innerText();
    expect(key).toMatch(/^(es256|ed25519-passkey|rs256):/);
    await page.goto('about:blank');
    const folder = other.folder;
    await other.stop();
    await appendFile(join(folder, 'stet.toml'), `\n[[deploy.approvers]]\nlogin = "ada"\npasskeys = ["${key}"]\n`);
    other = await StetNode.serve(folder);

    const { archive } = await api.bundle('First release');
    const token = JSON.parse(stet(other, 'deploy', 'token', 'add', 'design', '--format', 'json')) as { token: string };
    const brought = await page.request.post(`${named(other.url)}/api/v1/bundles`, {
      data: archive,
      headers: { Authorization: `Bearer ${token.token}`, 'Content-Type': 'application/octet-stream' },
    });
    expect(brought.status()).toBe(201);
    await page.goto(`${named(other.url)}/projects/BIRDSTRIKES/deployment`);
    await page.getByRole('button', { name: 'Plan' }).click();
    const plan = page.getByRole('dialog', { name: 'What activating bundle 1 does' });
    await expect(plan).toContainText('this bundle is not approved');
    await expect(plan.getByRole('button', { name: 'Activate' })).toBeDisabled();
    await plan.getByLabel('In your words').fill('Looked at every line');
    await noViolations(page);
    await plan.getByRole('button', { name: 'Sign with a passkey' }).click();
    await expect(plan).toContainText('ada approves: “Looked at every line”');
    await noViolations(page);
    for (const box of await plan.getByRole('checkbox').all()) await box.uncheck();
    await plan.getByRole('button', { name: 'Activate' }).click();
    await expect(page.getByText('approved by ada').first()).toBeVisible();
    await page.goto('about:blank');
  } finally {
    await other.remove();
  }
});
