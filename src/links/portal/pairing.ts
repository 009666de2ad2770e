// Joining by a code: TLS between two portal certificates that nobody has pinned yet, told from a session by ALPN; inside it
// CPace over the code (identity/cpace.ts), bound to this very TLS session. Who stands in between has two sessions, so two
// different runs, and one guess in each. What comes out is each other's pin and a federation key for the two.
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import * as z from 'zod';
import { Cpace, lengthAndValue, SHARE_BYTES } from '../../identity/cpace.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import type { Between, NewPeer, PairingAttempt, PairingDesk } from '../pairing.ts';
import type { Patience, Secured } from './secure.ts';

export const PAIRING_ALPN = 'waystation-join/1';
/** The whole exchange; the far end writes its configuration meanwhile. */
export const PAIRING_MS = 30_000;
/** One message. */
const MAX_LINE = 4_096;
const EXPORTER = 'EXPORTER-waystation-join';
const BINDING_BYTES = 32;

const bytes = (length: number) =>
  z
    .string()
    .max(128)
    .transform((text) => Buffer.from(text, 'base64url'))
    .refine((value) => value.length === length, `expected ${length} bytes`);
const words = z.string().max(500);
const refused = z.object({ refused: z.object({ code: z.string().max(64), words, fix: words }) });
const share = z.object({ share: bytes(SHARE_BYTES) });
const proof = z.object({ proof: bytes(32) });
const introduction = z.object({ name: z.string().regex(/^[^\p{C}]{1,64}$/u) });
const done = z.object({ done: z.literal(true) });

/** Ours, for the far end to see and to be bound to. */
export interface PairingSelf {
  readonly pin: string;
  readonly name: string;
}

/**
 * Lets whoever knows the code join. Rejects with LinkError; what the far end could not finish is undone. Owns the socket.
 * @param address of the far end
 */
export async function answerPairing(
  { socket, pin }: Secured,
  address: string,
  desk: { readonly pairing: PairingDesk | undefined; readonly link: string; readonly between?: Between | undefined },
  self: PairingSelf,
  patience: Patience,
): Promise<string> {
  const lines = new Lines(socket, address, patience);
  try {
    if (!desk.pairing) throw new LinkError('no_code', 'no code is open here', '');
    if (pin === self.pin) throw new LinkError('own_pin', 'that is this box itself', '');
    const attempt = desk.pairing.begin(address, desk.link, desk.between);
    const { key, proofs } = await exchange('responder', lines, socket, attempt.code, { client: pin, server: self.pin });
    const { proof: theirs } = await lines.next(proof);
    // Used up by a right proof alone, and before the other side learns anything.
    if (!key || !timingSafeEqual(theirs, proofs.initiator)) throw wrongCode();
    if (!attempt.claim()) throw new LinkError('no_code', 'the code is no longer good', '');
    lines.send({ proof: proofs.responder.toString('base64url') });
    return await welcome(attempt, { pin, key }, lines, self);
  } catch (error) {
    const { code, message, fix } = error instanceof LinkError ? error : INTERNAL;
    lines.send({ refused: { code, words: message, fix } });
    throw error;
  } finally {
    lines.end();
  }
}

async function welcome(
  attempt: PairingAttempt,
  { pin, key }: Omit<NewPeer, 'name'>,
  lines: Lines,
  self: PairingSelf,
): Promise<string> {
  const { name } = await lines.next(introduction);
  const here = await attempt.welcome({ pin, key, name });
  try {
    lines.send({ name: self.name });
    await lines.next(done);
    return here;
  } catch (error) {
    await attempt.undo();
    throw error;
  }
}

/**
 * Joins the box at the other end of a fresh TLS connection. `settle` makes it a peer here; only then is the far end told that
 * it worked. Resolves to what `settle` resolves to. Rejects with LinkError. Owns the socket.
 */
export async function joinByCode<Result>(
  { socket, pin }: Secured,
  code: string,
  self: PairingSelf,
  settle: (peer: NewPeer) => Promise<Result>,
  where: string,
  patience: Patience,
): Promise<Result> {
  const lines = new Lines(socket, where, patience);
  try {
    if (socket.alpnProtocol !== PAIRING_ALPN) throw notPairing(where);
    if (pin === self.pin) throw new LinkError('own_pin', `${where} is this box itself`, 'name the other box');
    const { key, proofs } = await exchange('initiator', lines, socket, code, { client: self.pin, server: pin });
    if (!key) throw wrongCode();
    lines.send({ proof: proofs.initiator.toString('base64url') });
    const { proof: theirs } = await lines.next(proof);
    if (!timingSafeEqual(theirs, proofs.responder)) throw wrongCode();
    lines.send({ name: self.name });
    const { name } = await lines.next(introduction);
    const result = await settle({ pin, key, name });
    lines.send({ done: true });
    return result;
  } finally {
    lines.end();
  }
}

/** CPace within this TLS session. `key` undefined: the far end sent no share worth the name. */
async function exchange(
  role: 'initiator' | 'responder',
  lines: Lines,
  socket: TLSSocket,
  code: string,
  pins: { readonly client: string; readonly server: string },
) {
  const session = socket.exportKeyingMaterial(BINDING_BYTES, EXPORTER, Buffer.alloc(0));
  const channel = lengthAndValue(...[PAIRING_ALPN, pins.client, pins.server].map((part) => Buffer.from(part)));
  const run = new Cpace({ password: Buffer.from(code), channel, session });
  if (role === 'initiator') lines.send({ share: run.share.toString('base64url') });
  const { share: theirs } = await lines.next(share);
  if (role === 'responder') lines.send({ share: run.share.toString('base64url') });
  const shared = run.key(role, theirs);
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', shared ?? session, session, purpose, 32));
  const confirm = derive('confirmation');
  const proofOf = (of: string) => createHmac('sha256', confirm).update(of).digest();
  return {
    key: shared && derive('federation key').toString('base64url'),
    proofs: { initiator: proofOf('initiator'), responder: proofOf('responder') },
  };
}

/** One JSON text a line, each waited for. */
class Lines {
  readonly #socket: TLSSocket;
  readonly #where: string;
  readonly #ready: string[] = [];
  readonly #release: () => void;
  #waiting: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void } | undefined;
  #over: LinkError | undefined;
  #text = '';

  constructor(socket: TLSSocket, where: string, { clock, signal, ms }: Patience) {
    this.#socket = socket;
    this.#where = where;
    const cancel = clock.after(ms, () => this.#fail('pairing_timeout', `${where} did not finish joining in time`));
    const release = onAbort(signal, () => this.#fail('aborted', 'told to stop'));
    this.#release = () => {
      cancel();
      release();
    };
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#fail('hung_up', `${where} hung up before the two were joined`));
  }

  send(message: object): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Rejects with LinkError: also with the far end's own words, when it refuses. */
  async next<Shape extends z.ZodType>(shape: Shape): Promise<z.output<Shape>> {
    const line = await this.#line();
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      message = undefined;
    }
    const refusal = refused.safeParse(message);
    if (refusal.success) throw refusedBy(this.#where, refusal.data.refused);
    const read = shape.safeParse(message);
    if (read.success) return read.data;
    throw new LinkError('bad_pairing', `${this.#where} said something that is no part of joining`, '');
  }

  /** What was sent goes out first. */
  end(): void {
    this.#release();
    this.#socket.end();
    // Whoever does not close is closed.
    this.#socket.setTimeout(1_000, () => this.#socket.destroy());
  }

  #line(): Promise<string> {
    const line = this.#ready.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#over) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #take(chunk: Buffer): void {
    this.#text += chunk.toString('latin1');
    if (this.#text.length > MAX_LINE) return this.#fail('bad_pairing', `${this.#where} said too much at once`);
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = Buffer.from(this.#text.slice(0, end), 'latin1').toString('utf8');
      this.#text = this.#text.slice(end + 1);
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting) waiting.resolve(line);
      else this.#ready.push(line);
    }
  }

  #fail(code: string, text: string): void {
    if (this.#over) return;
    this.#over = new LinkError(code, text, '');
    this.#waiting?.reject(this.#over);
    this.#waiting = undefined;
    this.#socket.destroySoon();
  }
}

const INTERNAL = new LinkError('internal_error', 'a fault in this relay; its log has the details', '');

function wrongCode(): LinkError {
  const fix =
    'Compare the code letter by letter with the one the other box shows. If it is the same, somebody stands between the two: try from another network, or exchange pins by hand.';
  return new LinkError('wrong_code', 'the two sides do not know the same code', fix);
}

function notPairing(where: string): LinkError {
  const fix = 'Check address and port: it is the one of the portal link over there (usual: 9090).';
  return new LinkError('not_a_relay', `what answers at ${where} lets nobody join by a code`, fix);
}

/** Its words are a stranger's: no control characters. */
function refusedBy(where: string, { code, words: said, fix }: z.output<typeof refused>['refused']): LinkError {
  const plain = (text: string) => text.replace(/\p{C}/gu, ' ');
  return new LinkError(/^[a-z_]{1,40}$/.test(code) ? code : 'refused', `${where}: ${plain(said)}`, plain(fix));
}
