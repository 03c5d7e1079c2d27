import AxeBuilder from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';

/** The rules of WCAG 2.2, levels A and AA. */
export const wcag: readonly string[] = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** Fails with every place in which axe finds something: by all of its rules, or by those with one of the tags. */
export async function noViolations(page: Page, tags?: readonly string[]): Promise<void> {
  const axe = new AxeBuilder({ page });
  const { violations } = await (tags === undefined ? axe : axe.withTags([...tags])).analyze();
  const told = violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${id}: ${help}\n  ${node.target.join(' ')}\n  ${node.html}\n  ${node.failureSummary ?? ''}`),
  );
  expect(told.join('\n'), 'axe finds nothing').toBe('');
}
