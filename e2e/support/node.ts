/** A Stet node of its own for each test: a copy of the demo's folder, and the server that runs on it. */

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const startMsMax = 120_000;
const stopMsMax = 10_000;

export type Login = 'admin' | 'dana' | 'rob' | 'rita';

/** The server's binary: `$STET`, else where cargo puts it. */
export function stetBinary(): string {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
  const places = [
    process.env.STET,
    process.env.CARGO_TARGET_DIR && join(process.env.CARGO_TARGET_DIR, 'release/stet'),
    join(root, 'target/release/stet'),
  ].filter((place): place is string => Boolean(place));
  const found = places.find((place) => existsSync(place));
  if (!found)
    throw new Error(
      `There is no stet at ${places.join(' or ')}. Build it with \`make build\`, or set STET to its path.`,
    );
  return found;
}

export class StetNode {
  private constructor(
    readonly folder: string,
    readonly url: string,
    private readonly passwords: ReadonlyMap<string, string>,
    private readonly server: ChildProcess,
  ) {}

  /** Copies a stopped node's folder to a new place and starts it there. */
  static async copyOf(template: string): Promise<StetNode> {
    const folder = join(await mkdtemp(join(tmpdir(), 'stet-e2e-')), 'node');
    await cp(template, folder, {
      recursive: true,
      preserveTimestamps: true,
      filter: (path) => !path.endsWith('stet.lock'),
    });
    return StetNode.start(folder);
  }

  /** Makes a new demo node. */
  static async fresh(): Promise<StetNode> {
    return StetNode.start(join(await mkdtemp(join(tmpdir(), 'stet-e2e-')), 'node'));
  }

  /** Starts the demo in a folder and waits until it has printed its address and logins. */
  static async start(folder: string): Promise<StetNode> {
    const server = spawn(stetBinary(), ['demo', '--node', folder, '--listen', '127.0.0.1:0', '--log', 'warn'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    let said = '';
    let complained = '';
    server.stderr.setEncoding('utf8').on('data', (text: string) => (complained += text));
    await new Promise<void>((done, failed) => {
      const timer = setTimeout(
        () => failed(new Error(`stet did not start in time.\n${said}\n${complained}`)),
        startMsMax,
      );
      server.once('error', failed);
      server.once('exit', (code) => failed(new Error(`stet ended with ${code} at its start.\n${said}\n${complained}`)));
      server.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (!said.includes('Ctrl-C stops it')) return;
        clearTimeout(timer);
        done();
      });
    });
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
    if (!url) throw new Error(`stet printed no address:\n${said}`);
    const passwords = new Map<string, string>();
    for (const [, login = '', password = ''] of said.matchAll(/^\s+(\w+)\s+([a-z]+(?:-[a-z]+){3})\b/gm)) {
      passwords.set(login, password);
    }
    return new StetNode(folder, url, passwords, server);
  }

  /** Serves a node that was made before, without a project or people of its own. */
  static async serve(folder: string, port = 0): Promise<StetNode> {
    const server = spawn(stetBinary(), ['serve', '--node', folder, '--listen', `127.0.0.1:${port}`, '--log', 'warn'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    let said = '';
    let complained = '';
    server.stderr.setEncoding('utf8').on('data', (text: string) => (complained += text));
    const url = await new Promise<string>((done, failed) => {
      server.once('error', failed);
      server.once('exit', (code) => failed(new Error(`stet ended with ${code} at its start.\n${said}\n${complained}`)));
      server.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
        if (found) done(found);
      });
    });
    return new StetNode(folder, url, new Map(), server);
  }

  password(login: Login): string {
    const password = this.passwords.get(login);
    if (!password) throw new Error(`The demo printed no password of ${login}.`);
    return password;
  }

  /** A file of the project's data. */
  data(name: string): string {
    return join(this.folder, 'data/BIRDSTRIKES', name);
  }

  /** Asks the server to end, as Ctrl-C does, and waits for it. */
  async stop(): Promise<void> {
    if (this.server.exitCode !== null || this.server.signalCode !== null) return;
    const ended = new Promise<void>((done) => this.server.once('exit', () => done()));
    this.server.kill('SIGINT');
    const timer = setTimeout(() => this.server.kill('SIGKILL'), stopMsMax);
    await ended;
    clearTimeout(timer);
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(dirname(this.folder), { recursive: true, force: true });
  }
}
