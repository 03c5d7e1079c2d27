import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noViolations } from '../support/axe';
import { StetNode } from '../support/node';
import { production } from '../support/production';
import { freePort, Provider } from '../support/provider';
import { expect, test } from '../support/test';

for (const colorScheme of ['light', 'dark'] as const) {
  test(`somebody signs in by the button of another provider, and is told when it is away (${colorScheme})`, async ({
    node,
    visitor,
  }) => {
    const provider = await Provider.start('pia', 'Pia Provider');
    let other = await production(node);
    try {
      const [folder, port] = [other.folder, await freePort()];
      await other.stop();
      const file = join(folder, 'stet.toml');
      await writeFile(file, `public_url = "http://127.0.0.1:${port}"\n${await readFile(file, 'utf8')}`);
      await appendFile(
        file,
        `\n[login.provider]\nname = "Example University"\nissuer = "${provider.issuer}"\nclient_id = "stet"\nnew_users = "reader"\n`,
      );
      other = await StetNode.serve(folder, port);
      const page = await visitor({ colorScheme, baseURL: other.url });
      await page.goto('/signin');
      const button = page.getByRole('link', { name: 'Sign in with Example University' });
      await expect(button).toBeVisible();
      await noViolations(page);
      await button.click();
      await expect(page.getByRole('button', { name: /^Account of Pia Provider/ })).toBeVisible();
      await page.request.delete('/api/v1/session');

      // Started anew, the node knows nothing of a provider that is away.
      await other.stop();
      await provider.stop();
      other = await StetNode.serve(folder, port);
      await page.goto('/signin');
      await button.click();
      await expect(page.getByRole('alert').filter({ hasText: 'The provider does not answer' })).toBeVisible();
      await noViolations(page);
    } finally {
      await provider.stop().catch(() => undefined);
      await other.remove();
    }
  });
}

test('Mine only shows the rows that are assigned to whoever looks', async ({ node, person, api }) => {
  const file = join(node.folder, 'projects/BIRDSTRIKES/webapps/correct-strikes.toml');
  const text = (await readFile(file, 'utf8')).replace('[rows]\n', '[rows]\nassigned_to = "owner"\n');
  const column = '[[editable]]\ncolumn = "owner"\ntitle = "Owner"\ntype = "text"\n\n';
  await writeFile(file, text.replace('[[editable]]', `${column}[[editable]]`).replace('"strike_id",', '"strike_id", "owner",'));
  await expect.poll(async () => (await api.about('correct-strikes')).assigned_to).toBe('owner');
  await api.edit('correct-strikes', '1', 'owner', 'dana');
  await api.edit('correct-strikes', '2', 'owner', 'rita');
  const dana = await person('dana');
  const table = await dana.open('correct-strikes');
  const mine = dana.page.getByRole('button', { name: 'Mine only' });
  await mine.click();
  await expect(mine).toHaveAttribute('aria-pressed', 'true');
  await expect(dana.page.getByText(/^1 of .* rows$/)).toBeVisible();
  await noViolations(dana.page);
  await mine.click();
  await expect(dana.page.getByText(/^1 of .* rows$/)).toBeHidden();
  expect(table).toBeDefined();
});
