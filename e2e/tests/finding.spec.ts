import { grouped, strikes, type Strike } from '../support/csv';
import { expect, test } from '../support/test';

/** `12 of 10,000 rows` */
function totalOf(found: readonly Strike[]): string {
  return `${grouped(found.length)} of ${grouped(strikes.length)} rows`;
}

function keysOf(found: readonly Strike[], count: number): string[] {
  return found.slice(0, count).map((row) => row.strike_id);
}

test('a table without filters shows all rows of the original in its order', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await expect(table.rowsText).toHaveText('10,000 rows');
  expect(await table.keys(20)).toEqual(keysOf(strikes, 20));
});

test('a text is found in any case by a part of it', async ({ dana }) => {
  const found = strikes.filter((row) => row.species.toLowerCase().includes('gull'));
  const table = await dana.open('correct-strikes');
  const form = await table.openFilter('species');
  await form.getByRole('textbox', { name: 'value' }).fill('GULL');
  await dana.page.keyboard.press('Enter');
  await expect(table.rowsText).toHaveText(totalOf(found));
  await expect.poll(() => table.keys(15)).toEqual(keysOf(found, 15));
  await expect(dana.page.getByRole('group', { name: 'Filters' })).toContainText('Species contains “GULL”');
});

test('a number is found by a range', async ({ dana }) => {
  const inside = (row: Strike): boolean =>
    row.speed_knots !== '' && Number(row.speed_knots) >= 250 && Number(row.speed_knots) <= 260;
  const found = strikes.filter(inside);
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'speed_knots');
  const form = await table.openFilter('speed_knots');
  await form.getByRole('textbox', { name: 'from' }).fill('250');
  await form.getByRole('textbox', { name: 'to' }).fill('260');
  await form.getByRole('button', { name: 'Apply' }).click();
  await expect(table.rowsText).toHaveText(totalOf(found));
  await expect.poll(() => table.keys(15)).toEqual(keysOf(found, 15));
});

test('blank cells are found, and the filter is taken away by its chip', async ({ dana }) => {
  const found = strikes.filter((row) => row.speed_knots === '');
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'speed_knots');
  const form = await table.openFilter('speed_knots');
  await form.getByRole('combobox', { name: 'Comparison' }).selectOption('blank');
  await form.getByRole('button', { name: 'Apply' }).click();
  await expect(table.rowsText).toHaveText(totalOf(found));
  await expect.poll(() => table.keys(15)).toEqual(keysOf(found, 15));
  await dana.page.getByRole('button', { name: /^Remove filter/ }).click();
  await expect(table.rowsText).toHaveText('10,000 rows');
});

test('values of a list are found by ticking them', async ({ dana }) => {
  const found = strikes.filter((row) => row.damage === 'Substantial' || row.damage === 'C');
  const table = await dana.open('correct-strikes');
  await table.goTo('1', 'damage');
  const form = await table.openFilter('damage');
  await form.getByRole('checkbox', { name: 'Substantial' }).check();
  await form.getByRole('checkbox', { name: 'C', exact: true }).check();
  await form.getByRole('button', { name: 'Apply' }).click();
  await expect(table.rowsText).toHaveText(totalOf(found));
  await expect.poll(() => table.keys(15)).toEqual(keysOf(found, 15));
});

test('a click on a header sorts, a click with Shift sorts within that', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await table.header('time_of_day').click();
  await expect(table.header('time_of_day')).toHaveAttribute('aria-sort', 'ascending');
  await table.header('flight_date').click({ modifiers: ['Shift'] });
  await table.header('flight_date').click({ modifiers: ['Shift'] });
  await expect(table.header('flight_date')).toHaveAttribute('aria-sort', 'descending');
  const sorted = [...strikes].sort(
    (a, b) =>
      compare(a.time_of_day, b.time_of_day) ||
      compare(b.flight_date, a.flight_date) ||
      Number(a.strike_id) - Number(b.strike_id),
  );
  await expect.poll(() => table.keys(20)).toEqual(keysOf(sorted, 20));
});

test('numbers are sorted as numbers, blank cells last in both directions', async ({ dana }) => {
  // A month's strikes at one airport, few enough to stand on one screen.
  const [airport, month] = ['NEWARK LIBERTY INTL ARPT', '1995-10'];
  const found = strikes.filter((row) => row.airport_name === airport && row.flight_date.startsWith(month));
  const blank = found.filter((row) => row.speed_knots === '');
  const filled = found.filter((row) => row.speed_knots !== '');
  expect(blank.length).toBeGreaterThan(0);
  expect(filled.length).toBeGreaterThan(3);
  expect(found.length).toBeLessThan(22);
  const byId = (a: Strike, b: Strike): number => Number(a.strike_id) - Number(b.strike_id);
  const up = [...filled].sort((a, b) => Number(a.speed_knots) - Number(b.speed_knots) || byId(a, b));
  const down = [...filled].sort((a, b) => Number(b.speed_knots) - Number(a.speed_knots) || byId(a, b));
  const filter = `equals:airport_name=${encodeURIComponent(airport)}&between:flight_date=${month}-01..${month}-31`;
  const table = await dana.open('correct-strikes', `?${filter}&sort=asc:speed_knots`);
  await expect(table.rowsText).toHaveText(totalOf(found));
  await expect.poll(() => table.keys(30)).toEqual(keysOf([...up, ...blank], 30));
  await table.goTo(up[0]?.strike_id ?? '', 'speed_knots');
  await table.header('speed_knots').click();
  await expect(table.header('speed_knots')).toHaveAttribute('aria-sort', 'descending');
  await expect.poll(() => table.keys(30)).toEqual(keysOf([...down, ...blank], 30));
});

test('a filter keeps the active column, the drafts, and what can be undone', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  await table.type('1', 'species', 'Black vulture');
  await table.saved();
  await table.type('1', 'speed_knots', '9999');
  await expect(table.cell('1', 'speed_knots')).toHaveClass(/\bsg-refused\b/);
  const form = await table.openFilter('speed_knots');
  await form.getByRole('textbox', { name: 'from' }).fill('300');
  await dana.page.keyboard.press('Enter');
  await expect(table.rowsText).not.toHaveText('10,000 rows');
  await expect(table.header('speed_knots')).toHaveClass(/\bsg-active\b/);
  await expect(table.cell('1', 'speed_knots')).toHaveClass(/\bsg-refused\b/);
  await dana.page.keyboard.press('ArrowDown');
  await dana.page.keyboard.press('Control+Z');
  await expect.poll(() => api.value('correct-strikes', '1', 'species')).toBe('Turkey vulture');
});

test('filters and sorting combine, stand in the address, and survive a reload', async ({ dana }) => {
  const found = strikes
    .filter((row) => row.species.toLowerCase().includes('gull') && Number(row.cost_total) >= 1000)
    .sort((a, b) => Number(b.cost_total) - Number(a.cost_total) || Number(a.strike_id) - Number(b.strike_id));
  expect(found.length).toBeGreaterThan(2);
  const table = await dana.open('correct-strikes');
  const species = await table.openFilter('species');
  await species.getByRole('textbox', { name: 'value' }).fill('gull');
  await dana.page.keyboard.press('Enter');
  await expect(dana.page).toHaveURL(/contains%3Aspecies=gull/);
  await table.goTo((await table.keys(1))[0] ?? '', 'cost_total');
  const cost = await table.openFilter('cost_total');
  await cost.getByRole('textbox', { name: 'from' }).fill('1000');
  await dana.page.keyboard.press('Enter');
  await expect(table.rowsText).toHaveText(totalOf(found));
  await table.header('cost_total').click();
  await table.header('cost_total').click();
  await expect.poll(() => table.keys(15)).toEqual(keysOf(found, 15));

  const address = dana.page.url();
  await table.reload();
  expect(dana.page.url()).toBe(address);
  await expect(table.rowsText).toHaveText(totalOf(found));
  expect(await table.keys(15)).toEqual(keysOf(found, 15));
  await dana.page.getByRole('button', { name: 'Clear filters and sorting' }).click();
  await expect(table.rowsText).toHaveText('10,000 rows');
});

test('a filter that finds nothing says so and offers the way back', async ({ dana }) => {
  const table = await dana.open('review-matches');
  const form = await table.openFilter('airport_name');
  await form.getByRole('textbox', { name: 'value' }).fill('atlantis');
  await dana.page.keyboard.press('Enter');
  await expect(dana.page.getByText('No rows match')).toBeVisible();
  await dana.page.getByRole('button', { name: 'Clear filters', exact: true }).click();
  await expect(table.rowsText).toHaveText('50 rows');
});

test('a linked column is found by the name of what it links to', async ({ dana, api }) => {
  await api.edit('correct-strikes', '7', 'diverted_to', 'EWR');
  const table = await dana.open('correct-strikes', '?contains:diverted_to=newark%20intl');
  await expect(table.rowsText).toHaveText('1 of 10,000 rows');
  expect(await table.keys(5)).toEqual(['7']);
});

test('rows that were edited, and those edited by oneself, are one click away', async ({ dana, api }) => {
  await api.edit('correct-strikes', '5', 'species', 'Blue jay');
  const table = await dana.open('correct-strikes');
  await table.type('9', 'species', 'Osprey');
  await table.saved();
  await dana.page.getByRole('button', { name: 'Edited', exact: true }).click();
  await expect(table.rowsText).toHaveText('2 of 10,000 rows');
  expect((await table.keys(5)).sort()).toEqual(['5', '9']);
  await dana.page.getByRole('button', { name: 'Edited', exact: true }).click();
  await dana.page.getByRole('button', { name: 'Edited by me' }).click();
  await expect(table.rowsText).toHaveText('1 of 10,000 rows');
  expect(await table.keys(5)).toEqual(['9']);
});

test('an address that names what the table does not have is told, and the rest of it is used', async ({ dana }) => {
  const table = await dana.open('correct-strikes', '?contains:colour=red&contains:species=gull');
  await expect(table.notices).toContainText('colour');
  await expect(table.rowsText).toHaveText('168 of 10,000 rows');
});

test('the last of ten thousand rows is one key away', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await table.cell('1', 'strike_id').click();
  await dana.page.keyboard.press('Control+End');
  await expect(table.row('10000')).toBeVisible();
  await dana.page.keyboard.press('Control+Home');
  await expect(table.row('1')).toBeVisible();
});

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
