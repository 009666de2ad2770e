// Pages of the box over real HTTPS, as a browser with a session asks for them: cookie, hidden field, plain forms.
import { type RequestOptions, request as tlsRequest } from 'node:https';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Accounts } from '../../../src/api/access/accounts.ts';
import { SetupCode } from '../../../src/api/access/setup-code.ts';
import { SESSION_COOKIE } from '../../../src/api/gate.ts';
import type { PageDeps } from '../../../src/api/page/routes.ts';
import type { Route } from '../../../src/api/route.ts';
import type { RelayStatus } from '../../../src/core/status.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { makePair } from '../../support/peers/certs.ts';
import { memoryOf, serveApi, tempFolder } from '../api-server.ts';

export interface PageAnswer {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface PageServer {
  readonly deeds: Awaited<ReturnType<typeof serveApi>>['deeds'];
  get(path: string): Promise<PageAnswer>;
  post(path: string, fields: Readonly<Record<string, string>>): Promise<PageAnswer>;
  /** Without the session; with it, but with another hidden field. */
  readonly stranger: Pick<PageServer, 'get' | 'post'>;
  readonly forged: Pick<PageServer, 'post'>;
}

/** What pages are given of a relay that is nobody's. */
export function pageDeps(clock: Clock, status: Partial<RelayStatus> = {}): PageDeps {
  return {
    clock,
    charts: { rates: () => ({ in: 0, out: 0 }), chart: () => [] },
    snapshot: () => ({ name: 'box', version: '1', ...status }) as RelayStatus,
    units: () => ({ total: 0, units: [] }),
    events: () => [],
    log: () => [],
    caPem: () => '',
    federationPem: () => '',
    secureAddress: () => 'https://127.0.0.1:8443',
  };
}

/** Logged in as the owner. */
export async function servePages(t: TestContext, routes: readonly Route[], clock: Clock = systemClock) {
  const { chainPem, keyPem } = makePair('localhost', 'serverAuth');
  const accounts = new Accounts({ memory: memoryOf(), clock, setupCode: new SetupCode(join(tempFolder(t), 'code')) });
  const place = { kind: 'tls' as const, host: '127.0.0.1', port: 0, keys: () => ({ certPem: chainPem, keyPem }) };
  const { url, deeds } = await serveApi(t, { routes, accounts, clock, places: [{ place, from: [] }] });
  const session = await accounts.setUp(accounts.setupCode!, 'owner', 'a long password', '192.0.2.1');
  const { csrf } = accounts.sessionHolder(session)!;
  const cookie = { cookie: `${SESSION_COOKIE}=${session}` };
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  // What a proxy adds, so that nobody is taken for the computer itself.
  const ask = (path: string, method: string, headers: Record<string, string>, body = '') =>
    send({ port: new URL(url).port, path, method, headers: { 'x-real-ip': '192.0.2.1', ...headers } }, body);
  const post = (headers: Record<string, string>, secret: string) => (path: string, fields: object) =>
    ask(path, 'POST', { ...form, ...headers }, new URLSearchParams({ csrf: secret, ...fields }).toString());
  const server: PageServer = {
    deeds,
    get: (path) => ask(path, 'GET', cookie),
    post: post(cookie, csrf),
    stranger: { get: (path) => ask(path, 'GET', {}), post: post({}, csrf) },
    forged: { post: post(cookie, 'guessed') },
  };
  return server;
}

function send(options: RequestOptions, body: string): Promise<PageAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<PageAnswer>();
  const where = { host: '127.0.0.1', rejectUnauthorized: false, agent: false as const };
  const request = tlsRequest({ ...where, ...options }, (answer) => {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (chunk: string) => {
      text += chunk;
    });
    answer.on('end', () => resolve({ status: answer.statusCode!, text, headers: answer.headers }));
  });
  request.on('error', reject);
  request.end(body);
  return promise;
}

/** The rows of the table in the region of this name, as texts of their cells. */
export function rowsIn(text: string, region: string): string[][] {
  const from = text.indexOf(`aria-label="${region}"`);
  if (from < 0) return [];
  const table = text.slice(from, text.indexOf('</table>', from)).split('<tbody>')[1] ?? '';
  return table
    .split('</tr>')
    .map((row) => [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => words(cell!)))
    .filter((cells) => cells.length > 0);
}

/** Without its markup. */
export function words(text: string): string {
  return text
    .replace(/<[^>]*>/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}
