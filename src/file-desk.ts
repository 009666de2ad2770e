// Files, as the relay knows them: which phones may bring and fetch them, whom they may know of, where they are served. Part of the
// composition root.

import type { Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { CALL_TIMEOUT_MS, callWithin, PASSED_HEADER } from './api/exchange.ts';
import type { Found, MartiCaller } from './api/marti/context.ts';
import { type MartiPlace, serveMarti } from './api/marti/server.ts';
import type { Nodes } from './api/nodes.ts';
import { type FileAsked, peerOf } from './api/resources.ts';
import type { Config } from './config/schema.ts';
import type { FilesStatus } from './core/files-status.ts';
import type { Hub } from './core/hub.ts';
import type { Envelope } from './core/message.ts';
import { type NodeResponse, problemResponse } from './core/node.ts';
import type { Peer } from './core/peer.ts';
import { mayHop, permit } from './core/policy.ts';
import type { PeerSpec } from './core/session.ts';
import type { Warning } from './core/status.ts';
import { FileCallers } from './file-callers.ts';
import { type Arrival, Arrivals } from './files/arrivals.ts';
import { Fetches } from './files/fetches.ts';
import { cleanFileName } from './files/kind.ts';
import { OfferBook } from './files/offer-book.ts';
import { type Offer, Offers, shareOf, withUrl } from './files/offers.ts';
import { FileRefusal } from './files/refusal.ts';
import { Shelf, type StoredFile } from './files/shelf.ts';
import { type Transfer, Transfers } from './files/transfers.ts';
import type { StoredIdentity } from './identity/identity.ts';
import type { Trust } from './identity/trust.ts';
import { sleep } from './lib/abort.ts';
import { plainAddress } from './lib/address.ts';
import type { Clock } from './lib/clock.ts';
import { FatalError, LinkError } from './lib/errors.ts';
import type { Log } from './lib/log.ts';
import type { FileTrouble, LinkFiles, SharedFile } from './links/link.ts';
import type { AuditStore } from './store/audit.ts';

const SWEEP_MS = 10 * 60_000;

export interface FileDeskParts {
  /** As it was when the relay started. */
  readonly started: Config;
  readonly hub: Hub;
  /** Peers that can be asked. */
  readonly nodes: Nodes;
  readonly identity: StoredIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: AuditStore;
  readonly version: string;
  /** Which phones are let in besides those of our own authority, and which are not; live. */
  readonly phones: Trust;
  /** As configured now. */
  config(): Config;
}

export class FileDesk implements LinkFiles {
  readonly #parts: FileDeskParts;
  readonly #shelf: Shelf;
  readonly #places: readonly MartiPlace[];
  readonly #addresses = new Map<MartiPlace['kind'], string>();
  readonly #troubles = new Map<MartiPlace['kind'] | 'folder', Warning>();
  readonly #refused: Record<string, number> = {};
  readonly #offers: Offers;
  /** The same on the disk. */
  readonly #book: OfferBook;
  readonly #transfers: Transfers;
  readonly #arrivals: Arrivals;
  readonly #callers: FileCallers;
  #fetches: Fetches | undefined;

  constructor(parts: FileDeskParts) {
    this.#parts = parts;
    const { files, data } = parts.started;
    const { fileBytes, bytes, hours } = files;
    this.#shelf = new Shelf({
      dir: join(data, 'files'),
      limits: { fileBytes, bytes, ageMs: hours * 3_600_000 },
      clock: parts.clock,
    });
    const ageMs = hours * 3_600_000;
    this.#book = new OfferBook({
      ...{ dir: join(data, 'offers'), ageMs, clock: parts.clock },
      onFault: (error) => parts.log.error({ err: error }, 'an announcement of a file could not be kept'),
    });
    this.#offers = new Offers(ageMs, (hash, offer) => this.#book.note(hash, offer));
    this.#callers = new FileCallers(parts);
    this.#transfers = new Transfers(parts.clock);
    this.#arrivals = new Arrivals({
      shelf: this.#shelf,
      transfers: this.#transfers,
      nameOf: (source) => this.#peer(source)?.spec.name ?? source,
      onRefused: ({ code, message }) => {
        this.#count(code);
        parts.log.warn({ code, words: message }, 'a file that a federate sent was not taken');
      },
      onFault: (error) => parts.log.error({ err: error }, 'a file that a federate sent could not be kept'),
    });
    this.#places = [
      ...(files.listen ? [{ kind: 'plain' as const, ...files.listen }] : []),
      ...(files.tls
        ? [{ kind: 'tls' as const, ...files.tls, keys: () => parts.identity.server(), asksCertificate: true }]
        : []),
      ...(files.federates
        ? [
            {
              kind: 'federates' as const,
              ...files.federates,
              keys: () => parts.identity.federation(),
              asksCertificate: true,
            },
          ]
        : []),
    ];
  }

  get isOn(): boolean {
    return this.#places.length > 0;
  }

  get warnings(): readonly Warning[] {
    return [...this.#troubles.values()];
  }

  /** undefined: files are not served here. */
  status(): FilesStatus | undefined {
    if (!this.isOn) return undefined;
    const { bytes, limits } = this.#shelf;
    const files = this.#shelf.list().length;
    return {
      files,
      bytes,
      quota: limits.bytes,
      offers: this.#offers.size,
      transfers: this.#transfers.statuses(),
      totals: this.#transfers.totals,
      refused: { ...this.#refused },
    };
  }

  /** Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    if (!this.isOn || !this.#open()) return;
    const { hub, clock } = this.#parts;
    const untap = hub.tap((envelope) => {
      this.#offers.note(envelope, clock.nowMs());
      this.#arrivals.note(envelope);
    });
    this.#fetches = new Fetches({
      shelf: this.#shelf,
      transfers: this.#transfers,
      clock,
      signal,
      ask: (source, path, until) => this.#ask(source, path, [], until),
      nameOf: (source) => this.#peer(source)?.spec.name ?? source,
    });
    await Promise.all([this.#serve(signal), this.#sweep(signal), this.#book.run(signal)]);
    untap();
  }

  #open(): boolean {
    try {
      this.#shelf.open();
      this.#offers.restore(this.#book.read());
      return true;
    } catch (error) {
      const words = `files cannot be kept: ${(error as Error).message}`;
      this.#troubles.set('folder', {
        code: 'files_folder',
        words,
        fix: 'let the relay write to its data folder, then restart it',
      });
      this.#parts.log.error({ err: error }, 'files cannot be kept');
      return false;
    }
  }

  #serve(signal: AbortSignal): Promise<void> {
    const { clock, log, version, identity } = this.#parts;
    return serveMarti(
      {
        places: this.#places,
        shelf: this.#shelf,
        transfers: this.#transfers,
        clock,
        log,
        version,
        nodeId: () => identity.id,
        judge: (socket, kind) => this.#callers.judge(socket, kind),
        find: (hash, caller) => this.#find(hash, caller),
        mayBring: (caller) => this.#callers.policies(caller).some(({ dpIn }) => dpIn),
        mayFetch: (caller) => this.#callers.policies(caller).some(({ dpOut }) => dpOut),
        mayKnow: (file, caller) => this.#callers.mayKnow(file, caller),
        contacts: (caller) => this.#callers.contacts(caller),
        groups: (caller) => this.#callers.groups(caller),
        onBrought: (file, caller) => this.#brought(file, caller),
        onListening: (kind, address) => {
          this.#addresses.set(kind, address);
          this.#troubles.delete(kind);
          log.info({ place: kind, address }, 'files are served');
        },
        onTrouble: (kind, error) => this.#failed(kind, error),
        onRefused: (code) => this.#count(code),
      },
      signal,
    );
  }

  #count(code: string): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(SWEEP_MS, signal);
      this.#shelf.sweep();
    }
  }

  // --- given out ---------------------------------------------------------------------------------------------------------

  #find(hash: string, caller: MartiCaller): Found {
    const offer = this.#offers.get(hash, this.#parts.clock.nowMs());
    const streams = this.#callers.streams(caller);
    // A phone may have what it knows of and was not forbidden; a federate what was announced to it.
    const isAsked = offer && streams.some((stream) => isFor(offer, stream));
    if (!isAsked && (caller.isFederate || (offer && streams.length > 0))) {
      throw new FileRefusal('filtered', 'what is announced with this file may not go to this link');
    }
    const file = this.#shelf.get(hash);
    if (file) return { file, read: (start, end) => this.#shelf.read(hash, start, end) };
    const arrival = this.#arrivals.get(hash);
    if (arrival) return this.#arriving(hash, arrival);
    if (!offer || !this.#fetches) throw new FileRefusal('no_such_file', 'there is no such file here');
    const fetch = this.#fetches.begin(offer);
    const { name, size } = offer;
    const addedMs = offer.envelope.receivedWallMs;
    return {
      file: { hash, name: cleanFileName(name), size, mime: 'application/octet-stream', addedMs },
      read: (start, end, signal) => fetch.read(start, end, signal),
    };
  }

  /** Whoever is told of a file in the same breath in which it came waits until it is on the disk. */
  #arriving(hash: string, { name, size, mime, taken }: Arrival): Found {
    const shelf = this.#shelf;
    return {
      file: {
        hash,
        name: cleanFileName(name),
        size,
        mime: mime || 'application/octet-stream',
        addedMs: this.#parts.clock.wallMs(),
      },
      async *read(start, end) {
        if (!(await taken)) throw new FileRefusal('no_such_file', 'the file was not taken');
        yield* shelf.read(hash, start, end);
      },
    };
  }

  // --- between boxes -------------------------------------------------------------------------------------------------

  /** An announcement with the file at this box, by the address at which the phone is connected: there it gets it from. */
  localize(envelope: Envelope, socket: Socket): Envelope {
    if (!this.isOn) return envelope;
    const share = shareOf(envelope);
    const isHere =
      share &&
      (this.#shelf.get(share.hash) ||
        this.#arrivals.get(share.hash) ||
        this.#offers.get(share.hash, this.#parts.clock.nowMs())?.sources.some((source) => this.#canBeAsked(source)));
    if (!isHere) return envelope;
    const secure = socket instanceof TLSSocket;
    const kind = secure && this.#addresses.has('tls') ? 'tls' : this.#addresses.has('plain') ? 'plain' : 'tls';
    const port = this.#addresses.get(kind)?.split(':').at(-1);
    if (port === undefined) return envelope;
    const host = plainAddress(socket.localAddress ?? '');
    const scheme = kind === 'tls' ? 'https' : 'http';
    return withUrl(
      envelope,
      `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}/Marti/sync/content?hash=${share.hash}`,
    );
  }

  async whole(
    envelope: Envelope,
    to: PeerSpec,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<SharedFile | FileTrouble> {
    const share = shareOf(envelope);
    if (!share || !this.isOn) return 'not_here';
    if (share.size > maxBytes) {
      this.#count('file_too_large');
      return 'too_large';
    }
    const budget = this.#parts.hub.budgets().get(to.link);
    if (budget?.counts && budget.leftToday() < share.size) return 'day_spent';
    const file = await this.#whole(share.hash, signal);
    // It may have taken an hour to come: what counts is what may go there now.
    const peer = this.#peer(to.key);
    if (!file || file.size > maxBytes || !peer || permit(envelope, peer.policy) !== undefined) return 'not_here';
    return this.#shared(file, to);
  }

  async #whole(hash: string, signal: AbortSignal): Promise<StoredFile | undefined> {
    await this.#arrivals.get(hash)?.taken;
    const file = this.#shelf.get(hash);
    const offer = this.#offers.get(hash, this.#parts.clock.nowMs());
    if (file || !this.#fetches || !offer?.sources.some((source) => this.#canBeAsked(source))) return file;
    try {
      await this.#fetches.begin(offer).whole(signal);
    } catch (error) {
      if (!(error instanceof FileRefusal)) throw error;
      this.#count(error.code);
    }
    return this.#shelf.get(hash);
  }

  #shared(file: StoredFile, to: PeerSpec): SharedFile {
    const { hash, name, size } = file;
    let transfer: Transfer | undefined;
    const going = () => (transfer ??= this.#transfers.begin({ hash, name, size, direction: 'out', peer: to.name }));
    return {
      ...file,
      read: (at, bytes) => this.#shelf.piece(hash, at, bytes),
      moved: (bytes) => going().moved(bytes),
      ended: (whole, words) => going().become(whole ? 'whole' : 'failed', words),
    };
  }

  /** Part of a file, for a peer to whom it was announced; what is not here is asked for where it was announced from. */
  async answer(hash: string, { query, caller, passed, signal }: FileAsked): Promise<NodeResponse> {
    const { hub, clock, identity } = this.#parts;
    const peer = peerOf(hub, caller.link, caller.name);
    const offer = this.#offers.get(hash, clock.nowMs());
    if (!peer || !offer || !isFor(offer, peer) || !mayHop(offer.envelope)) return NOT_OFFERED;
    const [at, bytes] = ['at', 'bytes'].map((name) => Number(query.get(name) ?? Number.NaN)) as [number, number];
    if (!Number.isSafeInteger(at) || at < 0 || !Number.isSafeInteger(bytes) || bytes < 1 || bytes > MAX_PIECE)
      return BAD_PART;
    const budget = hub.budgets().get(caller.link);
    if (budget?.counts && budget.leftToday() < bytes) return DAY_SPENT;
    const file = this.#shelf.get(hash);
    if (file) return at < file.size ? this.#part(file, at, Math.min(file.size, at + bytes), peer) : BAD_PART;
    for (const source of offer.sources.filter((key) => key !== peer.spec.key)) {
      const answer = await this.#ask(
        source,
        `/files/${hash}?at=${at}&bytes=${bytes}`,
        [...passed, identity.id],
        signal,
      );
      if (answer) return answer;
    }
    return NOT_OFFERED;
  }

  async #part({ hash, name, size }: StoredFile, at: number, end: number, to: Peer): Promise<NodeResponse> {
    const transfer = this.#transfers.going({ hash, name, size, direction: 'out', peer: to.spec.name });
    transfer.startAt(at);
    const body = await this.#shelf.piece(hash, at, end - at);
    transfer.moved(end - at);
    if (end === size) transfer.become('whole');
    return { status: 200, headers: { 'content-type': 'application/octet-stream' }, body };
  }

  #ask(
    source: string,
    path: string,
    passed: readonly string[],
    signal: AbortSignal,
  ): Promise<NodeResponse> | undefined {
    const peer = this.#peer(source);
    if (!peer?.policy.dpIn || !this.#canBeAsked(source)) return undefined;
    const { nodes, clock } = this.#parts;
    const headers = { [PASSED_HEADER]: passed.join(',') };
    const request = { method: 'GET', path, headers, body: Buffer.alloc(0), hops: passed.length };
    return callWithin(nodes, peer.spec.name, request, { ms: CALL_TIMEOUT_MS, clock, signal });
  }

  #peer(key: string): Peer | undefined {
    return this.#parts.hub.peers().find(({ spec }) => spec.key === key);
  }

  #canBeAsked(source: string): boolean {
    const peer = this.#peer(source);
    return peer !== undefined && this.#parts.nodes.find(peer.spec.name)?.link === peer.spec.link;
  }

  // --- told ----------------------------------------------------------------------------------------------------------

  #brought(file: StoredFile, caller: MartiCaller): void {
    const { hash, name, size } = file;
    if (this.#parts.config().networks.length > 0) {
      this.#shelf.setNetwork(hash, this.#callers.streams(caller)[0]?.policy.network ?? '');
    }
    this.#parts.log.info({ hash, name, size, by: caller.name }, 'a phone brought a file');
    this.#parts.audit.add({
      kind: 'change',
      who: caller.name,
      from: caller.address,
      action: 'file_brought',
      target: hash.slice(0, 12),
      outcome: 'ok',
      detail: `${name}, ${size} bytes`,
    });
  }

  #failed(kind: MartiPlace['kind'], error: Error): void {
    const known = error instanceof LinkError || error instanceof FatalError;
    const code = known ? error.code : 'internal_error';
    if (this.#troubles.get(kind)?.code === code) return;
    this.#troubles.set(kind, { code, words: error.message, fix: known ? error.fix : '' });
    this.#parts.log.warn({ code, place: kind, words: error.message }, 'files are not served here');
  }
}

/** The announcement may go there, and so may its file. */
function isFor({ envelope }: Offer, { spec, policy }: Peer): boolean {
  return envelope.from === spec.key || permit(envelope, policy) === undefined;
}

const MAX_PIECE = 1 << 20;
const NOT_OFFERED = problemResponse(404, 'not_offered', 'no such file was announced to you from here');
const BAD_PART = problemResponse(400, 'bad_part', 'at and bytes do not name a part of the file');
const DAY_SPENT = problemResponse(429, 'day_spent', 'the line has no bytes left for files today');
