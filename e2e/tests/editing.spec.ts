import { expect, test } from '../support/test';

// Strike 1 stands in the first row: Turkey vulture, Large, 300 knots, 1990-01-08.

test.describe('an edit is saved, marked, and there after a reload', () => {
  const typed = [
    { kind: 'a text', column: 'species', text: 'Laughing gull', shown: 'Laughing gull', value: 'Laughing gull' },
    { kind: 'a number', column: 'cost_total', text: '1234.50', shown: '1,234.5', value: '1234.5' },
    { kind: 'a number with grouped digits', column: 'cost_other', text: '12,345', shown: '12,345', value: '12345' },
    { kind: 'a whole number', column: 'speed_knots', text: '251', shown: '251', value: '251' },
    { kind: 'a date', column: 'flight_date', text: '1991-2-3', shown: '1991-02-03', value: '1991-02-03' },
    {
      kind: 'a date with time',
      column: 'inspected_at',
      text: '1990-01-09 08:30',
      shown: '1990-01-09 08:30',
      value: '1990-01-09T08:30:00',
    },
    { kind: 'a value of a list, by its first letters', column: 'size', text: 'sm', shown: 'Small', value: 'Small' },
  ];
  for (const { kind, column, text, shown, value } of typed) {
    test(kind, async ({ dana, api }) => {
      const table = await dana.open('correct-strikes');
      const cell = await table.type('1', column, text);
      await table.saved();
      await expect(cell).toHaveText(shown);
      await expect(cell).toHaveClass(/\bsg-edited\b/);
      expect(await api.value('correct-strikes', '1', column)).toBe(value);

      await table.reload();
      await table.goTo('1', column);
      await expect(cell).toHaveText(shown);
      await expect(cell).toHaveClass(/\bsg-edited\b/);
    });
  }

  test('a text of several lines, with Alt+Enter for a new line', async ({ dana, api }) => {
    const table = await dana.open('correct-strikes');
    const cell = await table.goTo('1', 'comments');
    await dana.page.keyboard.type('Remains sent in');
    await dana.page.keyboard.press('Alt+Enter');
    await dana.page.keyboard.type('by the crew');
    await expect(table.editor).toHaveValue('Remains sent in\nby the crew');
    await dana.page.keyboard.press('Enter');
    await table.saved();
    expect(await api.value('correct-strikes', '1', 'comments')).toBe('Remains sent in\nby the crew');

    await table.reload();
    await table.goTo('1', 'comments');
    await expect(cell).toHaveText('Remains sent in ⏎ by the crew');
    await expect(cell).toHaveClass(/\bsg-edited\b/);
    await dana.page.keyboard.press('F2');
    await expect(table.editor).toHaveValue('Remains sent in\nby the crew');
  });

  test('a checkbox with three states, by the space bar', async ({ dana, api }) => {
    const table = await dana.open('correct-strikes');
    const cell = await table.goTo('1', 'species_confirmed');
    await expect(cell).toHaveAccessibleName('blank');
    for (const [name, value] of [
      ['yes', 'true'],
      ['no', 'false'],
      ['blank', null],
      ['yes', 'true'],
      ['no', 'false'],
    ] as const) {
      await dana.page.keyboard.press('Space');
      await expect(cell).toHaveAccessibleName(name);
      await table.saved();
      expect(await api.value('correct-strikes', '1', 'species_confirmed')).toBe(value);
    }
    await expect(cell).toHaveClass(/\bsg-edited\b/);
    await table.reload();
    await table.goTo('1', 'species_confirmed');
    await expect(cell).toHaveAccessibleName('no');
    await expect(cell).toHaveClass(/\bsg-edited\b/);
  });

  test('a linked record, found by typing and chosen by the keyboard', async ({ dana, api }) => {
    const table = await dana.open('correct-strikes');
    const cell = await table.goTo('1', 'diverted_to');
    await dana.page.keyboard.type('newark');
    const option = table.options.filter({ hasText: 'Newark Intl' });
    // What tells two Newarks apart stands beside the name.
    await expect(option).toContainText('EWR');
    await expect(option).toContainText('NJ');
    await expect(table.options.filter({ hasText: 'Newark-Heath' })).toContainText('OH');
    while ((await option.getAttribute('aria-selected')) !== 'true') await dana.page.keyboard.press('ArrowDown');
    await expect(table.editor).toHaveAttribute('aria-activedescendant', (await option.getAttribute('id')) ?? '');
    await dana.page.keyboard.press('Enter');
    await table.saved();
    expect(await api.value('correct-strikes', '1', 'diverted_to')).toBe('EWR');

    await table.reload();
    await table.goTo('1', 'diverted_to');
    await expect(cell).toContainText('Newark Intl');
    await expect(cell).toContainText('EWR · Newark, NJ');
    await expect(cell).toHaveClass(/\bsg-edited\b/);
  });

  test('a linked record and a value of a list, chosen by the mouse', async ({ dana, api }) => {
    const table = await dana.open('correct-strikes');
    await table.goTo('2', 'damage');
    await table.cell('2', 'damage').dblclick();
    await table.options.filter({ hasText: 'Substantial' }).click();
    await table.saved();
    await table.goTo('2', 'diverted_to');
    await table.cell('2', 'diverted_to').dblclick();
    await table.editor.fill('Chicago Mid');
    await table.options.filter({ hasText: 'Chicago Midway' }).click();
    await table.saved();
    expect(await api.value('correct-strikes', '2', 'damage')).toBe('Substantial');
    expect(await api.value('correct-strikes', '2', 'diverted_to')).toBe('MDW');
  });
});

test('an emptied cell stays empty after a reload', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  const cell = await table.goTo('1', 'speed_knots');
  await expect(cell).toHaveText('300');
  await dana.page.keyboard.press('Delete');
  await table.saved();
  await expect(cell).toHaveText('');
  expect(await api.value('correct-strikes', '1', 'speed_knots')).toBeNull();

  await table.reload();
  await table.goTo('1', 'speed_knots');
  await expect(cell).toHaveText('');
  await expect(cell).toHaveClass(/\bsg-edited\b/);
});

test('the key of a row cannot be edited, and the page says why', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await table.cell('1', 'strike_id').click();
  await dana.page.keyboard.type('7');
  await expect(table.notices).toContainText('strike_id is the key of the row and stays as it is');
  await expect(table.editor).toHaveCount(0);
  await expect(table.cell('1', 'strike_id')).toHaveText('1');
});

test('Escape leaves a cell as it was and sends nothing', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  const cell = await table.goTo('1', 'species');
  await dana.page.keyboard.type('Dodo');
  await dana.page.keyboard.press('Escape');
  await expect(cell).toHaveText('Turkey vulture');
  await expect(cell).not.toHaveClass(/\bsg-edited\b/);
  expect((await api.history('correct-strikes', '1')).events).toEqual([]);
});

test.describe('a refused value stays as a draft with its reason, until Escape discards it', () => {
  const refused = [
    { why: 'a speed above the highest', column: 'speed_knots', text: '9999', reason: /600/, before: '300' },
    {
      why: 'a day that does not exist',
      column: 'flight_date',
      text: '2002-02-30',
      reason: /date|day/i,
      before: '1990-01-08',
    },
    {
      why: 'a date after the last',
      column: 'flight_date',
      text: '2022-02-03',
      reason: /2002-12-31/,
      before: '1990-01-08',
    },
    { why: 'a text in a number', column: 'cost_total', text: 'a lot', reason: /number/i, before: '0' },
    {
      why: 'a fraction in a whole number',
      column: 'speed_knots',
      text: '10.5',
      reason: /whole|integer/i,
      before: '300',
    },
    {
      why: 'a value that the list does not have',
      column: 'size',
      text: 'Enormous',
      reason: /Small|allowed|list/i,
      before: 'Large',
    },
    { why: 'an airport that does not exist', column: 'diverted_to', text: 'ZZZ9', reason: /airports/, before: '' },
  ];
  for (const { why, column, text, reason, before } of refused) {
    test(why, async ({ dana, api }) => {
      const table = await dana.open('correct-strikes');
      const cell = await table.goTo('1', column);
      await dana.page.keyboard.type(text);
      await dana.page.keyboard.press('Enter');
      await expect(cell).toHaveClass(/\bsg-refused\b/);
      await expect(cell).toContainText(text === '9999' ? '9,999' : text);
      await expect(table.card).toContainText(reason);
      await expect(dana.page.getByRole('button', { name: '1 draft needs you' })).toBeVisible();
      expect(await api.value('correct-strikes', '1', column)).toBe(before === '' ? null : before);

      await table.goTo('1', column);
      await dana.page.keyboard.press('Escape');
      await expect(cell).toHaveText(before);
      await expect(cell).not.toHaveClass(/\bsg-draft\b/);
      await table.saved();
      expect((await api.history('correct-strikes', '1')).events).toEqual([]);
    });
  }

  test('the draft of a required column that was emptied', async ({ dana }) => {
    const table = await dana.open('correct-strikes');
    const cell = await table.goTo('1', 'damage');
    await dana.page.keyboard.press('Delete');
    await expect(cell).toHaveClass(/\bsg-refused\b/);
    await expect(table.card).toContainText(/empty|required/i);
    await dana.page.keyboard.press('Escape');
    await expect(cell).toHaveText('None');
  });
});

test('a draft can be corrected from its card', async ({ dana, api }) => {
  const table = await dana.open('correct-strikes');
  const cell = await table.type('1', 'speed_knots', '2500');
  await expect(cell).toHaveClass(/\bsg-refused\b/);
  await table.card.getByRole('button', { name: 'Edit again' }).click();
  await expect(table.editor).toHaveValue('2500');
  await table.editor.fill('250');
  await dana.page.keyboard.press('Enter');
  await table.saved();
  await expect(cell).toHaveText('250');
  expect(await api.value('correct-strikes', '1', 'speed_knots')).toBe('250');
});

test('a page with a draft asks before it is left', async ({ dana }) => {
  const table = await dana.open('correct-strikes');
  await table.type('1', 'speed_knots', '9999');
  await expect(table.card).toBeVisible();
  const asked = dana.page.waitForEvent('dialog').then(async (dialog) => {
    const words = dialog.message();
    await dialog.dismiss();
    return words;
  });
  await dana.page.getByRole('link', { name: 'Bird strikes' }).click();
  expect(await asked).toContain('One change is not saved and would be lost');
  await expect(table.cell('1', 'speed_knots')).toHaveText('9,999');
});
