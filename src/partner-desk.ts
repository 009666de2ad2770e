// Partners over HTTPS, as the relay does it: their certificates judged, requests sent with both factors, answers bounded. Part of the
// composition root.
import { request as httpRequest } from 'node:http';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { type Partner, Partners } from './api/access/partners.ts';
import { MAX_ANSWER_BYTES, TOO_LATE } from './api/exchange.ts';
import { type FederationCalls, outcomeOf, PARTNERS_LINK } from './api/federation-calls.ts';
import { type PartnerRouteDeps, type PartnerStanding, PING_PATH } from './api/routes/partners.ts';
import {
  type Caller as NodeCaller,
  type NodePeer,
  type NodeRequest,
  type NodeResponse,
  type NodeService,
  problemResponse,
} from './core/node.ts';
import { DEFAULT_POLICY, type Policy } from './core/policy.ts';
import { CallingCertificates } from './identity/calling.ts';
import type { KeyPair, StoredIdentity } from './identity/identity.ts';
import { Seal } from './identity/seal.ts';
import { explainTlsError, judge, peerChain, type Trust } from './identity/trust.ts';
import { fingerprint } from './identity/x509.ts';
import { onAbort } from './lib/abort.ts';
import type { Clock } from './lib/clock.ts';
import { LinkError } from './lib/errors.ts';
import type { Store } from './store/store.ts';

const CONNECT_MS = 5_000;
const ANSWER_MS = 20_000;
const MAX_HEADER_BYTES = 16_384;
/** Where a partner that is a Waystation answers what a peer may read. */
export const RESOURCES_PATH = '/api/federation/resources';

export interface PartnerParts {
  /** Folder of the keys. */
  readonly dir: string;
  readonly store: Store;
  readonly identity: StoredIdentity;
  readonly clock: Clock;
  readonly calls: FederationCalls;
  /** Who has been revoked, live. */
  readonly refusals: Trust;
  /** Radio silence: nobody is called. */
  silent(): boolean;
}

export class PartnerDesk implements NodeService {
  readonly partners: Partners;
  readonly certificates: CallingCertificates;
  readonly #parts: PartnerParts;
  readonly #last = new Map<string, NonNullable<PartnerStanding['call']>>();
  readonly #pings = new Map<string, PartnerStanding['pings']>();
  readonly #asked = new Map<string, NonNullable<PartnerStanding['asked']>>();
  readonly #contactMs = new Map<string, number>();
  readonly #counts = new Map<string, { sent: number; received: number }>();

  /** @throws FatalError when a key of it cannot be read */
  constructor(parts: PartnerParts) {
    const { dir, store, identity, clock, calls } = parts;
    this.#parts = parts;
    this.certificates = new CallingCertificates(dir, identity);
    this.partners = new Partners({
      memory: { get: (key) => store.get(key), set: (key, value) => store.set(key, value), flush: () => store.flush() },
      clock,
      seal: new Seal(dir),
      shown: ({ socket }) => this.#shown(socket),
      onAsked: (partner, outcome) => {
        calls.note(partner || 'unknown', 'in', outcome);
        if (partner) this.#asked.set(partner, { atMs: clock.wallMs(), outcome });
        if (outcome === 'ok') this.#heard(partner, 'received');
      },
      onRemoved: (partner) => {
        for (const known of [this.#last, this.#pings, this.#asked, this.#contactMs, this.#counts])
          known.delete(partner);
      },
    });
  }

  /** What the API's routes ask of the desk. */
  forRoutes() {
    const { clock, calls } = this.#parts;
    return {
      partners: this.partners,
      clock,
      certificates: () => this.certificates.pairs,
      issue: (subject, days) => this.certificates.issue(subject, days),
      ask: (name, wanted, signal) => this.ask(name, wanted, signal),
      standing: (name) => this.standing(name),
      calls: (name) => calls.of(name),
      onPinged: (name) => this.pinged(name),
    } satisfies Partial<PartnerRouteDeps>;
  }

  // --- as peers that can be asked --------------------------------------------------------------------------------------

  peers(): readonly NodePeer[] {
    return this.partners.list().map((partner) => {
      const { hostname = '', port = '' } = partner.url === null ? {} : new URL(partner.url);
      const last = this.#last.get(partner.name);
      const counts = this.#counts.get(partner.name);
      return {
        name: partner.name,
        host: hostname,
        port: Number(port) || (hostname ? 443 : 0),
        via: last?.outcome === 'ok' ? 'https' : '',
        status: last === undefined ? 'connecting' : last.outcome === 'ok' ? 'connected' : 'disconnected',
        onDemand: true,
        trouble: last?.words || undefined,
        latencyMs: last?.outcome === 'ok' ? last.latencyMs : null,
        lastContactMs: this.#contactMs.get(partner.name) ?? null,
        messagesSent: counts?.sent ?? 0,
        messagesReceived: counts?.received ?? 0,
      };
    });
  }

  /** Read-only: the resources of a Waystation. */
  call(name: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    if (request.method !== 'GET') {
      return Promise.resolve(
        problemResponse(405, 'read_only', `${name} is a partner, and partners are only looked at`),
      );
    }
    return this.ask(name, { method: 'GET', path: `${RESOURCES_PATH}${request.path}`, body: undefined }, signal);
  }

  /** The counts of this call are the caller's to make (Nodes), or `ping`'s. Resolves always. */
  async ask(name: string, wanted: Wanted, signal: AbortSignal): Promise<NodeResponse> {
    const { clock } = this.#parts;
    const startedMs = clock.nowMs();
    const answer = await this.#tryEach(name, wanted, signal);
    const outcome = outcomeOf(answer);
    // That nobody waited for the answer says nothing of the partner.
    if (outcome === 'given_up') return answer;
    const latencyMs = Math.round(clock.nowMs() - startedMs);
    const call = { atMs: clock.wallMs(), outcome, latencyMs, words: outcome === 'ok' ? '' : detailOf(answer) };
    this.#last.set(name, call);
    if (wanted.path === PING_PATH) this.#pings.set(name, { ...this.#pinged(name), out: call });
    this.#heard(name, 'sent', outcome === 'ok');
    return answer;
  }

  /** It has pinged us, with both factors right. */
  pinged(name: string): void {
    this.#pings.set(name, { ...this.#pinged(name), inMs: this.#parts.clock.wallMs() });
  }

  #pinged(name: string): PartnerStanding['pings'] {
    return this.#pings.get(name) ?? { out: null, inMs: null };
  }

  /** Since the start of this relay. */
  standing(name: string): PartnerStanding {
    return {
      contactMs: this.#contactMs.get(name) ?? null,
      call: this.#last.get(name) ?? null,
      asked: this.#asked.get(name) ?? null,
      pings: this.#pinged(name),
    };
  }

  /** What a partner may be told of: units, if it is to see them, of its groups. */
  policyOf(caller: NodeCaller): Policy | undefined {
    if (caller.link !== PARTNERS_LINK) return undefined;
    const partner = this.partners.list().find(({ name }) => name === caller.name);
    return partner && { ...DEFAULT_POLICY, out: partner.units, groupsOut: partner.groups };
  }

  #heard(name: string, way: 'sent' | 'received', contact = true): void {
    const counts = this.#counts.get(name) ?? { sent: 0, received: 0 };
    counts[way]++;
    this.#counts.set(name, counts);
    if (contact) this.#contactMs.set(name, this.#parts.clock.wallMs());
  }

  /** By the newest certificate; by the one before, where the newest is not pinned yet. */
  async #tryEach(name: string, wanted: Wanted, signal: AbortSignal): Promise<NodeResponse> {
    if (this.#parts.silent()) return problemResponse(502, 'unreachable', 'radio silence: nobody is called');
    const partner = this.partners.list().find((one) => one.name === name);
    if (!partner)
      return problemResponse(404, 'unknown_peer', `there is no partner ${JSON.stringify(name.slice(0, 64))}`);
    const secret = this.partners.outboundSecret(name);
    const missing = missingOf(partner, secret, this.certificates.pairs);
    if (missing) return problemResponse(502, 'not_connected', `${name} cannot be called: ${missing}`);
    let answer: NodeResponse | undefined;
    for (const keyPair of this.certificates.pairs) {
      answer = await this.#send(partner, { ...wanted, secret: secret!, keyPair }, signal);
      if (!isNotPinned(answer)) break;
    }
    return answer!;
  }

  async #send(partner: Partner, sent: Sent, signal: AbortSignal): Promise<NodeResponse> {
    const { hostname, port } = new URL(partner.url!);
    const host = hostname.replace(/^\[|\]$/g, '');
    try {
      const socket = await this.#connect({ host, port: Number(port) || 443 }, partner, sent.keyPair, signal);
      return await exchange(socket, { ...sent, header: partner.header, host: `${hostname}:${port || 443}` }, signal);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      return problemResponse(error.code === 'timeout' ? 504 : 502, error.code, error.message);
    }
  }

  /** A connection whose far end is who we think: nothing has been said on it yet. Rejects with LinkError. */
  #connect(
    { host, port }: { readonly host: string; readonly port: number },
    { name, serverPin }: Partner,
    { certPem, keyPem }: KeyPair,
    signal: AbortSignal,
  ): Promise<TLSSocket> {
    const { clock, refusals } = this.#parts;
    return new Promise((resolve, reject) => {
      // The judge decides, not OpenSSL's store; the name does not matter where the certificate is pinned.
      const socket = tlsConnect({ host, port, cert: certPem, key: keyPem, rejectUnauthorized: false });
      const fail = (code: string, words: string, fix = '') => {
        cancel();
        release();
        socket.destroy();
        reject(new LinkError(code, words, fix));
      };
      const cancel = clock.after(CONNECT_MS, () => fail('timeout', `${host}:${port} does not answer`));
      const release = onAbort(signal, () => fail(...aborted(signal, `${host}:${port}`)));
      socket.on('error', (error: NodeJS.ErrnoException) => {
        const { code, words, fix } = explainTlsError(error, 'server', `${host}:${port}`);
        fail(NETWORK.has(code) ? 'unreachable' : 'tls', words, fix);
      });
      socket.once('secureConnect', () => {
        cancel();
        release();
        const trust = { cas: [], pins: [serverPin!], revoked: refusals.revoked, crls: refusals.crls };
        const verdict = judge(peerChain(socket), trust, 'server', clock.wallMs());
        if (verdict.ok) resolve(socket);
        else fail('tls', `the server of ${name} is not who was pinned: ${verdict.words}`, verdict.fix);
      });
    });
  }

  // --- who asks ----------------------------------------------------------------------------------------------------------

  #shown(socket: unknown) {
    if (!(socket instanceof TLSSocket)) return undefined;
    const chain = peerChain(socket);
    if (chain.length === 0) return undefined;
    const shown = fingerprint(chain[0]!);
    const { refusals, clock } = this.#parts;
    const trust = { cas: [], pins: [shown], revoked: refusals.revoked, crls: refusals.crls };
    const verdict = judge(chain, trust, 'client', clock.wallMs());
    return verdict.ok ? { fingerprint: shown } : { fingerprint: shown, notice: verdict };
  }
}

export interface Wanted {
  readonly method: 'GET' | 'POST';
  /** As at the partner, with its query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body: unknown;
}

interface Sent extends Wanted {
  readonly secret: string;
  readonly keyPair: KeyPair;
}

const NETWORK: ReadonlySet<string> = new Set([
  'refused',
  'name_unknown',
  'name_unavailable',
  'unreachable',
  'connect_timeout',
]);

function missingOf({ name, url, serverPin }: Partner, secret: string | undefined, pairs: readonly KeyPair[]): string {
  if (url === null) return 'it has no url here';
  if (serverPin === null) return 'the certificate of its server is not pinned here (server_pin)';
  if (secret === undefined)
    return `the secret that it showed was not entered here ("waystation partner set ${name} --secret-file FILE" does)`;
  return pairs.length === 0
    ? 'this box has no certificate for calling ("waystation partner certificate" issues one)'
    : '';
}

function isNotPinned({ status, body }: NodeResponse): boolean {
  return status === 403 && body.includes('"certificate_not_pinned"');
}

function detailOf({ status, body }: NodeResponse): string {
  try {
    const { detail } = JSON.parse(body.toString('utf8')) as { detail?: unknown };
    if (typeof detail === 'string') return detail.slice(0, 256);
  } catch {
    // no words of its own
  }
  return `answers ${status}`;
}

/** One request on a connection of its own. Rejects with LinkError timeout, unreachable, bad_answer. */
function exchange(
  socket: TLSSocket,
  { method, path, body, secret, header, host }: Sent & { readonly header: string; readonly host: string },
  signal: AbortSignal,
): Promise<NodeResponse> {
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const fail = (code: string, words: string) => {
      socket.destroy();
      reject(new LinkError(code, words, ''));
    };
    const request = httpRequest(
      {
        ...{ method, path, signal, maxHeaderSize: MAX_HEADER_BYTES, createConnection: () => socket },
        headers: {
          host,
          accept: 'application/json',
          connection: 'close',
          [header]: header === 'authorization' ? `Bearer ${secret}` : secret,
          ...(bytes ? { 'content-type': 'application/json', 'content-length': bytes.length } : {}),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES)
            fail('bad_answer', `${host} answers with more than ${MAX_ANSWER_BYTES >> 20} MiB`);
        });
        response.on('error', () => fail('unreachable', `${host} broke off its answer`));
        response.on('end', () => {
          socket.destroy();
          const type = response.headers['content-type'] ?? '';
          resolve({
            status: response.statusCode ?? 502,
            headers: { 'content-type': type.slice(0, 128) },
            body: Buffer.concat(chunks),
            answered: true,
          });
        });
      },
    );
    socket.setTimeout(ANSWER_MS, () => fail('timeout', `${host} does not answer`));
    request.on('error', (error) =>
      signal.aborted ? fail(...aborted(signal, host)) : fail('unreachable', `${host} broke off: ${error.message}`),
    );
    request.end(bytes);
  });
}

/** Code and words of a call that was ended from here. */
function aborted({ reason }: AbortSignal, host: string): [code: string, words: string] {
  return reason === TOO_LATE
    ? ['timeout', `${host} does not answer`]
    : ['given_up', 'nobody waits for the answer any more'];
}
