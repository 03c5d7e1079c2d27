/** The table page as a person meets it. */

import { expect, type Locator, type Page } from '@playwright/test';

export type WebappName = 'correct-strikes' | 'review-matches';

export class Table {
  private constructor(
    readonly page: Page,
    readonly webapp: WebappName,
    /** Names of the columns from left to right. */
    private readonly columns: readonly string[],
  ) {}

  static path(webapp: WebappName, query = ''): string {
    return `/projects/BIRDSTRIKES/webapps/${webapp}${query}`;
  }

  static async open(page: Page, webapp: WebappName, query = ''): Promise<Table> {
    const about = await page.request.get(`/api/v1/projects/BIRDSTRIKES/webapps/${webapp}`);
    const { columns } = (await about.json()) as { columns: { name: string }[] };
    const table = new Table(
      page,
      webapp,
      columns.map((column) => column.name),
    );
    await page.goto(Table.path(webapp, query));
    await table.loaded();
    return table;
  }

  /** The rows of the present query are there, and live news are on. */
  async loaded(): Promise<void> {
    await expect(this.page.locator('.sg-row[data-key]:not(.sg-busy)').first()).toBeVisible();
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.loaded();
  }

  get grid(): Locator {
    return this.page.getByRole('grid');
  }

  row(key: string): Locator {
    return this.page.locator(`.sg-row[data-key=${JSON.stringify(key)}]`);
  }

  cell(key: string, column: string): Locator {
    return this.row(key).locator(`[data-column=${JSON.stringify(column)}]`);
  }

  header(column: string): Locator {
    return this.page.locator(`.sg-headcell[data-column=${JSON.stringify(column)}]`);
  }

  /** The field of the open editor. */
  get editor(): Locator {
    return this.page.locator('.sg-editor:not(.sg-idle) .sg-field:visible');
  }

  get options(): Locator {
    return this.page.locator('.sg-choices [role=option]');
  }

  get card(): Locator {
    return this.page.locator('.sg-card');
  }

  get popup(): Locator {
    return this.page.locator('.sg-popover[role=dialog]:not(.sg-card)');
  }

  /** How many rows there are, in the words above the grid. */
  get rowsText(): Locator {
    return this.page.locator('.bar .rows');
  }

  get notices(): Locator {
    return this.page.getByRole('log', { name: 'Notices' });
  }

  /** Keys of the rows on screen from top to bottom. */
  async keys(count: number): Promise<string[]> {
    return this.page.locator('.sg-row[data-key]:not(.sg-busy)').evaluateAll(
      (rows, wanted) =>
        rows
          .map((row) => ({ key: row.getAttribute('data-key') ?? '', at: Number(row.getAttribute('aria-rowindex')) }))
          .sort((a, b) => a.at - b.at)
          .slice(0, wanted)
          .map((row) => row.key),
      count,
    );
  }

  /** Makes a cell active: a click on its row's key, and from there the arrow keys, which scroll sideways. */
  async goTo(key: string, column: string): Promise<Locator> {
    await this.cell(key, this.columns[0] ?? '').click();
    for (let at = 0; at < this.columns.indexOf(column); at += 1) await this.page.keyboard.press('ArrowRight');
    const cell = this.cell(key, column);
    await expect(cell).toHaveClass(/\bsg-active\b/);
    return cell;
  }

  /** Types a value over a cell and leaves with Enter. The row below is active afterwards. */
  async type(key: string, column: string, text: string): Promise<Locator> {
    const cell = await this.goTo(key, column);
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Enter');
    return cell;
  }

  /** Selects a block of cells from one corner to the other. */
  async select(from: { key: string; column: string }, rows: number, columns: number): Promise<void> {
    await this.goTo(from.key, from.column);
    for (let at = 1; at < rows; at += 1) await this.page.keyboard.press('Shift+ArrowDown');
    for (let at = 1; at < columns; at += 1) await this.page.keyboard.press('Shift+ArrowRight');
  }

  /** Puts text on the clipboard and pastes it at the active cell. */
  async paste(text: string): Promise<void> {
    await this.page.evaluate((clip) => navigator.clipboard.writeText(clip), text);
    await this.page.keyboard.press('Control+V');
  }

  /** Everything that was typed has been answered and taken. */
  async saved(): Promise<void> {
    // An edit shows as pending from the next frame on; before that the words would still be those of the last one.
    await this.page.evaluate(
      () => new Promise<void>((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))),
    );
    await expect(this.page.getByText('All changes saved')).toBeVisible();
    await expect(this.page.locator('.sg-pending')).toHaveCount(0);
  }

  async openFilter(column: string): Promise<Locator> {
    await this.header(column).hover();
    await this.header(column)
      .getByRole('button', { name: /^Filter/ })
      .click();
    await expect(this.popup).toBeVisible();
    return this.popup;
  }
}
