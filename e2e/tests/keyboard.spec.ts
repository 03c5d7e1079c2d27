import type { Page } from '@playwright/test';
import { strikes } from '../support/csv';
import { expect, test } from '../support/test';

/** Whether the element with the focus, or the grid's active cell for it, can be told apart by the eye. */
async function focusIsVisible(page: Page): Promise<string | null> {
  return page.evaluate(() => {
    const focused = document.activeElement;
    if (!focused || focused === document.body) return 'nothing has the focus';
    const inGrid = focused.classList.contains('sg-field');
    const target = inGrid ? document.querySelector('.sg-headcell.sg-active, .sg-cell.sg-active') : focused;
    if (!target) return 'no cell is active';
    const box = target.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) return `${target.className} has no size`;
    const drawn = [null, '::before', '::after'].some((part) => {
      const style = getComputedStyle(target, part);
      const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
      return outlined || style.boxShadow !== 'none';
    });
    return drawn
      ? null
      : `${target.tagName} ${target.className} "${target.textContent?.trim().slice(0, 30)}" is not marked`;
  });
}

test('one can sign in, edit, filter and undo by the keyboard alone, and always sees where one is', async ({
  visitor,
  node,
  api,
}) => {
  const page = await visitor();
  const { keyboard } = page;
  await page.goto('/projects/BIRDSTRIKES/webapps/correct-strikes');
  await expect(page.locator('[name=username]')).toBeFocused();
  await keyboard.type('dana');
  await keyboard.press('Tab');
  await keyboard.type(node.password('dana'));
  await keyboard.press('Enter');

  // From the page's heading by Tab to the grid.
  await expect(page.locator('.sg-row[data-key="1"]')).toBeVisible();
  const field = page.locator('.sg-field:focus');
  for (let stops = 0; (await field.count()) === 0; stops += 1) {
    expect(stops, 'the grid is reached in a few steps').toBeLessThan(25);
    await keyboard.press('Tab');
    expect(await focusIsVisible(page)).toBeNull();
  }

  // To the species of the second row, and over it.
  const columns = await page
    .locator('.sg-headcell[data-column]')
    .evaluateAll((heads) => heads.map((head) => head.getAttribute('data-column')));
  await keyboard.press('Control+Home');
  await keyboard.press('ArrowDown');
  for (let at = 0; at < columns.indexOf('species'); at += 1) {
    await keyboard.press('ArrowRight');
    expect(await focusIsVisible(page)).toBeNull();
  }
  const cell = page.locator('.sg-row[data-key="2"] [data-column="species"]');
  await expect(cell).toHaveClass(/\bsg-active\b/);
  await keyboard.type('Laughing gull');
  await keyboard.press('Enter');
  await expect(cell).toHaveText('Laughing gull');
  await expect(page.getByText('All changes saved')).toBeVisible();

  // Up into the header: filter.
  for (const _ of [1, 2, 3]) await keyboard.press('ArrowUp');
  await expect(page.locator('.sg-headcell.sg-active')).toHaveAttribute('data-column', 'species');
  expect(await focusIsVisible(page)).toBeNull();
  await keyboard.press('f');
  await expect(page.getByRole('dialog', { name: 'Filter Species' })).toBeVisible();
  expect(await focusIsVisible(page)).toBeNull();
  await keyboard.type('laughing gull');
  await keyboard.press('Enter');
  const found = strikes.filter((row) => row.species === 'Laughing gull').length + 1;
  await expect(page.locator('.bar .rows')).toHaveText(`${found} of 10,000 rows`);

  // Sort by it, and back.
  await expect(page.locator('.sg-headcell.sg-active')).toHaveAttribute('data-column', 'species');
  await keyboard.press('Enter');
  await expect(page.locator('.sg-headcell[data-column=species]')).toHaveAttribute('aria-sort', 'ascending');

  // Undo from anywhere in the grid.
  await keyboard.press('ArrowDown');
  await keyboard.press('Control+Z');
  await expect.poll(() => api.value('correct-strikes', '2', 'species')).toBe('Unknown bird or bat');

  // And out of the grid again, both ways.
  await keyboard.press('Shift+Tab');
  await expect(field).toHaveCount(0);
  expect(await focusIsVisible(page)).toBeNull();
  await keyboard.press('Tab');
  await expect(field).toHaveCount(1);
});

test('the keyboard help lists the keys and gives the focus back', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  const button = dana.page.getByRole('button', { name: 'Keyboard help' });
  await button.focus();
  await dana.page.keyboard.press('Enter');
  await expect(dana.page.getByRole('dialog', { name: 'Keyboard' })).toContainText('Fill down');
  await dana.page.keyboard.press('Escape');
  await expect(button).toBeFocused();
  await table.cell('1', 'species').click();
  await dana.page.keyboard.type('?');
  await expect(table.editor).toHaveValue('?');
});

test('the flow is walked by the arrow keys, and its details give the focus back', async ({ dana }) => {
  const { page } = dana;
  await page.goto('/projects/BIRDSTRIKES');
  const node = page.locator('[data-flow]').getByRole('button', { name: /^strikes_by_airport/ });
  await page.locator('[data-flow] .node').first().focus();
  await page.keyboard.press('End');
  expect(await focusIsVisible(page)).toBeNull();
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowRight');
  await node.focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'strikes_by_airport' })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(node).toBeFocused();
});

test('the first Tab on a page offers to skip to the content', async ({ dana }) => {
  const { page } = dana;
  await page.goto('/projects/BIRDSTRIKES');
  await expect(page.locator('[data-flow] .node').first()).toBeVisible();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.keyboard.press('Tab');
  const skip = page.getByRole('link', { name: 'Skip to the content' });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page.locator('main#content')).toBeFocused();
});
