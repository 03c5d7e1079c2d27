/** A second node, to which bundles go. */

import { execFileSync } from 'node:child_process';
import { appendFile, cp, mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StetNode, stetBinary } from './node';

/** Runs a command on a node's folder. */
export function stet(node: StetNode | string, ...words: string[]): string {
  const folder = typeof node === 'string' ? node : node.folder;
  return execFileSync(stetBinary(), [...words, '--node', folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export const password = 'correct horse battery';

/** A node that takes the bundles of another one, without approvals unless it is told otherwise; with the data and without the project. */
export async function production(design: StetNode, approval = 'persons_min = 0'): Promise<StetNode> {
  const folder = join(await mkdtemp(join(tmpdir(), 'stet-e2e-')), 'node');
  execFileSync(
    stetBinary(),
    ['init', '--node', folder, '--name', 'Production', '--role', 'automation', '--admin', 'ada', '--password-file', '-'],
    { input: `${password}\n` },
  );
  const key = stet(design, 'bundle', 'key').trim();
  await appendFile(
    join(folder, 'stet.toml'),
    `\n[deploy.approval]\n${approval}\n[[deploy.trusted]]\nname = "Design"\nkey = "${key}"\n`,
  );
  await mkdir(join(folder, 'data/BIRDSTRIKES'), { recursive: true });
  for (const file of ['strikes.csv', 'airports.csv']) {
    await cp(join(design.folder, 'data/BIRDSTRIKES', file), join(folder, 'data/BIRDSTRIKES', file));
  }
  return StetNode.serve(folder);
}
