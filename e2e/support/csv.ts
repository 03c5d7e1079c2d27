import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const examples = resolve(dirname(fileURLToPath(import.meta.url)), '../../examples/birdstrikes/data');

export type Strike = Record<
  | 'strike_id'
  | 'airport_name'
  | 'aircraft'
  | 'damage'
  | 'flight_date'
  | 'operator'
  | 'origin_state'
  | 'phase_of_flight'
  | 'size'
  | 'species'
  | 'time_of_day'
  | 'cost_other'
  | 'cost_repair'
  | 'cost_total'
  | 'speed_knots',
  string
>;

/** The strikes as the sample brings them: what the page shows is compared with this, not with the server's own answer. */
export const strikes: readonly Strike[] = parseCsv(readFileSync(resolve(examples, 'strikes.csv'), 'utf8')) as Strike[];

export function strike(id: string): Strike {
  const found = strikes.find((row) => row.strike_id === id);
  if (!found) throw new Error(`There is no strike ${id}.`);
  return found;
}

/** Whole numbers as the page groups them. */
export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

function parseCsv(text: string): Record<string, string>[] {
  const lines: string[][] = [[]];
  for (const [, quoted, plain = '', end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    lines.at(-1)?.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ',' && end !== '') lines.push([]);
  }
  const [header = [], ...rows] = lines.filter((line) => line.length > 1);
  return rows.map((row) => Object.fromEntries(header.map((name, at) => [name, row[at] ?? ''])));
}
