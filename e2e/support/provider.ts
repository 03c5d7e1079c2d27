/** A provider at which people sign in (OpenID Connect), in this process: it lets whoever comes in as one person. */

import { createHash, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class Provider {
  private constructor(
    readonly issuer: string,
    private readonly server: Server,
  ) {}

  static async start(login: string, name: string): Promise<Provider> {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const waiting = new Map<string, { nonce: string; challenge: string; client: string }>();
    let issuer = '';
    const text = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', issuer);
      const json = (value: object, status = 200): void => {
        response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
      };
      if (url.pathname === '/.well-known/openid-configuration') {
        json({
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/keys`,
        });
      } else if (url.pathname === '/keys') {
        json({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }] });
      } else if (url.pathname === '/authorize') {
        const asked = (key: string): string => url.searchParams.get(key) ?? '';
        const code = randomBytes(16).toString('hex');
        waiting.set(code, { nonce: asked('nonce'), challenge: asked('code_challenge'), client: asked('client_id') });
        const back = new URL(asked('redirect_uri'));
        back.search = new URLSearchParams({ code, state: asked('state') }).toString();
        response.writeHead(303, { Location: back.href }).end();
      } else if (url.pathname === '/token') {
        let body = '';
        request.setEncoding('utf8').on('data', (part: string) => (body += part));
        request.on('end', () => {
          const form = new URLSearchParams(body);
          const found = waiting.get(form.get('code') ?? '');
          const verifier = createHash('sha256')
            .update(form.get('code_verifier') ?? '')
            .digest('base64url');
          if (!found || found.challenge !== verifier) {
            json({ error: 'invalid_grant' }, 400);
            return;
          }
          const now = Math.floor(Date.now() / 1000);
          const claims = { iss: issuer, aud: found.client, sub: 'subject-1', nonce: found.nonce, iat: now, exp: now + 300 };
          const signed = `${text({ alg: 'RS256', kid: 'one' })}.${text({ ...claims, preferred_username: login, name })}`;
          const signature = createSign('RSA-SHA256').update(signed).sign(privateKey).toString('base64url');
          json({ token_type: 'Bearer', access_token: 'none', id_token: `${signed}.${signature}` });
        });
      } else {
        json({}, 404);
      }
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return new Provider(issuer, server);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((done) => this.server.close(() => done()));
  }
}

/** A port that was free a moment ago, for a node that has to know its address before it starts. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((done) => server.close(() => done()));
  return port;
}
