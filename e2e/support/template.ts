/** Runs once before all tests: makes the demo's node, whose first build takes some seconds. Tests copy its folder. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StetNode } from './node';

const variable = 'STET_E2E_TEMPLATE';

export function templateFolder(): string {
  const folder = process.env[variable];
  if (!folder) throw new Error('The template node is missing: it is made when the tests run through `npm test`.');
  return folder;
}

export default async function makeTemplate(): Promise<() => Promise<void>> {
  const place = await mkdtemp(join(tmpdir(), 'stet-e2e-template-'));
  const folder = join(place, 'node');
  const node = await StetNode.start(folder);
  // A stopped node is whole on disk: nothing is left in a write-ahead log that a copy could tear.
  await node.stop();
  process.env[variable] = folder;
  return () => rm(place, { recursive: true, force: true });
}
