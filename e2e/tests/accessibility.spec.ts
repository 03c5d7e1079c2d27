import { noViolations, wcag } from '../support/axe';
import { expect, test } from '../support/test';

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(`axe finds no fault (${colorScheme})`, () => {
    test('in signing in, also with a message', async ({ visitor }) => {
      const page = await visitor({ colorScheme });
      await page.goto('/');
      await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
      await noViolations(page, wcag);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect(page.getByRole('alert')).not.toBeEmpty();
      await noViolations(page, wcag);
    });

    test('in the flow as graph and list, with details', async ({ person }) => {
      const { page, open } = await person('dana', { colorScheme });
      const table = await open('correct-strikes');
      await table.type('1', 'species', 'Black vulture');
      await table.saved();
      await page.goto('/projects/BIRDSTRIKES');
      await expect(page.locator('[data-flow] .node').first()).toBeVisible();
      await noViolations(page, wcag);
      await page.getByRole('button', { name: /^strikes_by_airport/ }).click();
      await expect(
        page.getByRole('region', { name: 'Details of strikes_by_airport' }).getByText(/^Columns/),
      ).toBeVisible();
      await noViolations(page, wcag);
      await page.getByRole('button', { name: 'List' }).click();
      await expect(page.getByRole('region', { name: 'Flow of the project as a list' })).toBeVisible();
      await noViolations(page, wcag);
    });

    test('in the table with edits, a draft and an open editor', async ({ person, api }) => {
      await api.edit('correct-strikes', '1', 'species', 'Black vulture');
      const { page, open } = await person('dana', { colorScheme });
      const table = await open('correct-strikes');
      await noViolations(page, wcag);
      await table.type('3', 'flight_date', '2022-01-01');
      await expect(table.card).toBeVisible();
      await noViolations(page, wcag);
      await table.goTo('2', 'diverted_to');
      await page.keyboard.type('newark');
      await expect(table.options.first()).toBeVisible();
      await noViolations(page, wcag);
    });

    test('in the page of edits, and in taking some back', async ({ person, api }) => {
      const { page } = await person('dana', { colorScheme });
      await api.edit('correct-strikes', '1', 'species', 'Black vulture');
      await page.goto('/projects/BIRDSTRIKES/webapps/correct-strikes/log?user=admin');
      await expect(page.locator('tbody tr')).toHaveCount(1);
      await noViolations(page, wcag);
      await page.getByRole('region', { name: 'Seal of the log' }).locator('summary').click();
      await expect(page.getByRole('button', { name: 'Verify now' })).toBeVisible();
      await noViolations(page, wcag);
      await page.getByRole('button', { name: 'Take these back…' }).click();
      await expect(page.getByRole('dialog').locator('tbody tr')).toHaveCount(1);
      await noViolations(page, wcag);
    });

    test('in the editors of text and date', async ({ person }) => {
      const { page, open } = await person('dana', { colorScheme });
      const table = await open('correct-strikes');
      await table.goTo('2', 'comments');
      await page.keyboard.press('F2');
      await expect(table.editor).toBeVisible();
      await noViolations(page, wcag);
      await page.keyboard.press('Escape');
      await table.goTo('2', 'flight_date');
      await page.keyboard.press('F2');
      await expect(table.editor).toBeVisible();
      await noViolations(page, wcag);
    });

    test('in filters, menus and the history of a cell', async ({ person, api }) => {
      await api.edit('correct-strikes', '1', 'species', 'Black vulture');
      const { page, open } = await person('dana', { colorScheme });
      const table = await open('correct-strikes', '?contains:species=vulture');
      await table.openFilter('species');
      await noViolations(page, wcag);
      await page.keyboard.press('Escape');
      await table.cell('1', 'species').click();
      await page.keyboard.press('Alt+H');
      await expect(table.popup).toContainText('Turkey vulture');
      await noViolations(page, wcag);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Shift+F10');
      await expect(page.getByRole('menu')).toBeVisible();
      await noViolations(page, wcag);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Keyboard help' }).click();
      await expect(page.getByRole('dialog', { name: 'Keyboard' })).toBeVisible();
      await noViolations(page, wcag);
    });

    test('in a conflict between two people', async ({ person, api }) => {
      const { page, open } = await person('dana', { colorScheme });
      const table = await open('correct-strikes');
      await table.goTo('1', 'species');
      await page.keyboard.type('Osprey');
      await api.edit('correct-strikes', '1', 'species', 'Black vulture');
      await expect(table.cell('1', 'species')).toHaveText('Black vulture');
      await page.keyboard.press('Enter');
      await expect(table.card).toContainText('Changed by somebody else');
      await noViolations(page, wcag);
    });

    test('in the preview of a dataset', async ({ person }) => {
      const { page } = await person('dana', { colorScheme });
      await page.goto('/projects/BIRDSTRIKES/datasets/strikes_by_airport');
      await expect(page.getByRole('region', { name: 'Rows of strikes_by_airport' })).toBeVisible();
      await noViolations(page, wcag);
    });
  });
}

test('no page is wider than a phone', async ({ person }) => {
  const { page } = await person('admin', { viewport: { width: 390, height: 780 } });
  for (const [path, shown] of [
    ['/projects', 'Bird strikes'],
    ['/projects/BIRDSTRIKES/scenarios', 'Scenarios'],
    ['/admin/users', 'Users'],
    ['/admin/audit', 'Audit trail'],
    ['/account', 'Sessions'],
    ['/status', 'Status'],
  ] as const) {
    await page.goto(path);
    await expect(page.getByRole('heading', { name: shown }).first()).toBeVisible();
    // Lists come from the server after their heading.
    await expect(page.getByLabel('Loading…')).toHaveCount(0);
    const over = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(over, `${path} scrolls sideways`).toBe(0);
  }
});
