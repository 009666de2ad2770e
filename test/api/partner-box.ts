// A box with a partner: the real desk that calls it over TLS, and a far end of no make of ours that answers what a test wants.
import { createHash, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { FederationCalls, PARTNERS_LINK } from '../../src/api/federation-calls.ts';
import type { PartnerRouteDeps } from '../../src/api/routes/partners.ts';
import { openIdentity } from '../../src/identity/identity.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { PartnerDesk } from '../../src/partner-desk.ts';
import { openStore } from '../../src/store/store.ts';
import { makePair } from '../support/peers/certs.ts';
import { tempFolder } from './api-server.ts';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface FarEnd {
  readonly url: string;
  /** SHA-256 of its certificate. */
  readonly pin: string;
  answer: Answer;
  /** From now on its port is closed. */
  close(): Promise<void>;
}

export const json =
  (status: number, body: unknown, type = 'application/json'): Answer =>
  (_request, response) =>
    void response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));

/** What a Waystation of this name and id lets a partner read. */
export function relayAnswers(name: string, id: string, units: readonly object[] = []): Answer {
  const status = { name, id, version: '1.2.3', startedAt: '2026-11-01T10:00:00.000Z', units: units.length };
  const links = [{ name: 'phones', kind: 'cot', state: 'listening' }];
  return (request, response) => {
    const { pathname } = new URL(request.url!, 'https://far');
    if (pathname.endsWith('/status')) return json(200, { ...status, links })(request, response);
    if (pathname.endsWith('/units')) return json(200, { total: units.length, units })(request, response);
    return json(200, { ok: true })(request, response);
  };
}

export async function farEnd(t: TestContext): Promise<FarEnd> {
  const { chainPem, leafPem, keyPem } = makePair('localhost', 'serverAuth');
  const far = { answer: json(200, { ok: true }) };
  const tls = { cert: chainPem, key: keyPem, requestCert: true, rejectUnauthorized: false };
  const server = createServer(tls, (request, response) => far.answer(request, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  t.after(close);
  return Object.assign(far, {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pin: new X509Certificate(leafPem).fingerprint256.replaceAll(':', '').toLowerCase(),
    close,
  });
}

export const THEIR_SECRET = 'the-secret-that-they-made-for-us-0123456789';

export interface PartnerBox {
  readonly desk: PartnerDesk;
  readonly calls: FederationCalls;
  readonly deps: PartnerRouteDeps;
  /** What is in the audit: peer, path, outcome of each call of ours. */
  readonly called: string[];
  /** Adds it with all that calling it takes. Resolves to the secret it is to show us. */
  add(name: string, far: Pick<FarEnd, 'url' | 'pin'>): Promise<string>;
}

export async function partnerBox(t: TestContext, clock: Clock = systemClock): Promise<PartnerBox> {
  const folder = tempFolder(t);
  const identity = openIdentity({ dir: join(folder, 'id'), name: 'us', hosts: [], clock, log: silentLog });
  const store = openStore({ path: join(folder, 'waystation.db'), clock, log: silentLog });
  t.after(() => store.close());
  const calls = new FederationCalls();
  const parts = { dir: join(folder, 'id'), store, identity, clock, calls, refusals: { cas: [], pins: [] } };
  const desk = new PartnerDesk({ ...parts, silent: () => false });
  await desk.certificates.issue('us');
  const called: string[] = [];
  const deps: PartnerRouteDeps = {
    ...desk.forRoutes(),
    resources: { handle: () => Promise.reject(new Error('not asked here')) },
    about: () => ({ name: 'us', id: 'id-us', version: '1' }),
    published: () => ({ serverPin: identity.ca.fingerprint, caPem: identity.ca.certPem, url: 'https://us:8443' }),
    takenNames: () => [],
    onRemoteRequest: () => {},
    onPeerCalled: ({ peer, path, outcome }) => {
      calls.note(peer, 'out', outcome);
      called.push(`${peer} ${path} ${outcome}`);
    },
  };
  const add = async (name: string, { url, pin }: Pick<FarEnd, 'url' | 'pin'>) => {
    const settings = {
      url,
      pins: [createHash('sha256').update(name).digest('hex')],
      serverPin: pin,
      secret: THEIR_SECRET,
    };
    return (await desk.partners.add(name, settings)).secret;
  };
  return { desk, calls, deps, called, add };
}

export { PARTNERS_LINK };
