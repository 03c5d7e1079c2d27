import { createHmac } from 'node:crypto';
import { noViolations, wcag } from '../support/axe';
import { expect, test } from '../support/test';

/** What an app on a phone shows (RFC 6238), some half minutes from now. */
function code(secret: string, later = 0): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const bytes = (bits.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const tag = createHmac('sha1', Buffer.from(bytes)).update(step).digest();
  const offset = (tag[19] ?? 0) & 15;
  return String((tag.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

test('a second factor is set up in the account and asked for in a second step', async ({
  person,
  visitor,
  node,
  complaints,
}) => {
  complaints.allow(/status of (401|422) .*\/api\/v1\/(session|account\/second-factor)/);
  const { page } = await person('rita');
  await page.goto('/account');
  await page.getByRole('button', { name: 'Set it up' }).click();
  await page.getByLabel('Your password').fill('wrong');
  await page.getByRole('button', { name: 'Go on' }).click();
  await expect(page.getByRole('alert').filter({ hasText: 'not your present password' })).toBeVisible();
  await page.getByLabel('Your password').fill(node.password('rita'));
  await page.getByRole('button', { name: 'Go on' }).click();
  await expect(page.getByRole('img', { name: 'QR code of the key below' })).toBeVisible();
  await noViolations(page, wcag);
  const secret = await page.locator('code.secret').innerText();
  await page.getByLabel('The code that the app shows now').fill(code(secret));
  await page.getByRole('button', { name: 'Confirm' }).click();
  await expect(page.getByText('Your second factor is in force.')).toBeVisible();
  const recovery = await page.locator('.codes code').first().innerText();
  await noViolations(page, wcag);
  await page.getByRole('button', { name: 'I have kept them' }).click();
  await expect(page.getByText('Recovery codes left: 10')).toBeVisible();

  const other = await visitor();
  await other.goto('/signin');
  const password = async (): Promise<void> => {
    await other.locator('[name=username]').fill('rita');
    await other.locator('[name=password]').fill(node.password('rita'));
    await other.getByRole('button', { name: 'Sign in' }).click();
    await expect(other.getByLabel('Code')).toBeFocused();
  };
  await password();
  await noViolations(other, wcag);
  await other.getByLabel('Code').fill('123');
  await other.keyboard.press('Enter');
  await expect(other.getByRole('alert').filter({ hasText: 'This code is not right' })).toBeVisible();
  await other.getByRole('button', { name: 'Back' }).click();
  await password();
  await other.getByLabel('Code').fill(code(secret, 1));
  await other.keyboard.press('Enter');
  await expect(other.getByRole('button', { name: /^Account of Rita/ })).toBeVisible();

  const third = await visitor();
  const answer = await third.request.post('/api/v1/session', {
    data: { login: 'rita', password: node.password('rita'), code: recovery },
  });
  expect(answer.status()).toBe(200);
});
