// Files as federates say them (fig.proto ROL, tak-federation §3.4). TAK Server never sends the event that announces a file (b-f-t-r) to
// another: it says `announce package {…}`, of which the other makes such an event for its own clients, with its own address in it. The file
// went before that, when it was brought, as `create resource {…}` with the bytes in the first payload.
//
// Here an announcement is that event, whatever it came as: policy, addressees and phones know it as nothing else. The ROL bytes stay its
// wire, so that they go on to other federates as they came.
import { createHash } from 'node:crypto';
import type { CotEvent, Message } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { scanCot, trimCot } from './cot.ts';
import { UNKNOWN_METRES } from './cot-fields.ts';
import { type Element, outlineEvent } from './cot-outline.ts';
import { attribute, eventXml, isoTime } from './cot-write.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintLength, writeVarint } from './proto.ts';

/** CoT type of what announces a file. */
export const OFFER_TYPE = 'b-f-t-r';
/** A longer program is passed on and not understood: it may hold an announcement in XML, and that has 16 kB. */
const MAX_PROGRAM_BYTES = 64 << 10;
const MAX_XML_BYTES = 16 << 10;
const MAX_DESTS = 256;
/** ResourceDetails.size is a Java int. */
const MAX_JAVA_INT = 2 ** 31 - 1;
/** As long as phones may be away: TAK's own 100 s would make what waited for a link to come back stale. */
const STALE_MS = 24 * 3_600_000;
/** TAK Server makes XML of these without escaping. */
const UNSAFE = /[&<>"'\p{C}]/gu;

const PROGRAM = lengthTag(1);
const PAYLOAD = lengthTag(2);

const writer = new ProtoWriter();

/** What an event says of its file. */
export interface FileShare {
  /** SHA-256, lower hex. */
  readonly hash: string;
  readonly name: string;
  readonly size: number;
}

/** A file is announced. */
export function isOffer(message: Message): boolean {
  return message.kind === 'event' && message.event.type.startsWith(OFFER_TYPE);
}

/** What a ROL says: the announcement of a file is an event, all else a mission. */
export function messageOfRol(bytes: Buffer, summary: string): Message {
  const offer = summary === 'announce package' ? announcement(bytes) : undefined;
  return offer ? { kind: 'event', event: offer.event } : { kind: 'mission', summary };
}

/** The announcement as XML. @throws ProtocolError when it is none */
export function xmlFromRol(bytes: Buffer): Buffer {
  const offer = announcement(bytes);
  if (!offer) throw new ProtocolError('not_an_announcement', 'a ROL that announces no file');
  return offer.xml;
}

/** What an event that announces a file says of it; undefined: nothing one could use. */
export function fileShareOf(xml: Buffer): FileShare | undefined {
  const share = shareIn(xml)?.attributes;
  if (!share) return undefined;
  const hash = (share.get('sha256') ?? '').toLowerCase();
  const size = Number(share.get('sizeInBytes'));
  if (!isHash(hash) || !Number.isSafeInteger(size) || size < 1) return undefined;
  return { hash, size, name: share.get('filename') || share.get('name') || '' };
}

function shareIn(xml: Buffer): Element | undefined {
  return outlineEvent(trimCot(xml), ['fileshare']).children[0];
}

/** The same announcement with its file at `url`; undefined: it names no place. */
export function withSenderUrl(offer: Buffer, url: string): Buffer | undefined {
  const xml = trimCot(offer);
  const share = shareIn(xml);
  if (!share?.attributes.has('senderUrl')) return undefined;
  const tag = xml.toString('utf8', share.start, share.tagEnd);
  const changed = tag.replace(/(\ssenderUrl\s*)=\s*("[^"]*"|'[^']*')/, () => attribute('senderUrl', url));
  return Buffer.concat([xml.subarray(0, share.start), Buffer.from(changed), xml.subarray(share.tagEnd)]);
}

/**
 * `announce package`, without groups, provenance and hops, of an event that announces a file; undefined when TAK Server could not read it.
 * Beside the addressees, where it ignores what it does not know, stands the event itself: another Waystation gets all of it.
 */
export function rolFromOffer(xml: Buffer, event: CotEvent): Buffer | undefined {
  const share = fileShareOf(xml);
  const said = shareIn(xml)?.attributes;
  if (!share || !said || share.size > MAX_JAVA_INT) return undefined;
  const cot = xml.length <= MAX_XML_BYTES ? { cot: xml.toString('utf8') } : {};
  const to = { callsigns: event.destCallsigns, uids: event.destUids, ...cot };
  return programRol('announce package', {
    type: 'ResourceDetails',
    sha256: share.hash,
    senderUid: JSON.stringify(to),
    name: (said.get('name') || share.name).replace(UNSAFE, '_'),
    filename: share.name.replace(UNSAFE, '_'),
    senderUrl: '',
    tsStored: event.timeMs,
    senderCallsign: (said.get('senderCallsign') ?? '').replace(UNSAFE, '_'),
    sizeInBytes: share.size,
  });
}

// --- the file itself -------------------------------------------------------------------------------------------------

/** A file as TAK Server describes it to another (Resource). */
export interface ResourceWords {
  readonly hash: string;
  readonly name: string;
  readonly mime: string;
  readonly uploader: string;
  readonly creatorUid: string;
  readonly keywords: readonly string[];
}

export interface ResourceRol extends ResourceWords {
  /** Shares memory with the ROL. */
  readonly data: Buffer;
}

/** The ROLs that carry a file. */
const CARRIERS: ReadonlySet<string> = new Set(['create resource', 'disperse package']);

/** The file that a ROL carries; undefined: none, or no word of its hash. */
export function resourceOf(bytes: Buffer, summary: string): ResourceRol | undefined {
  if (!CARRIERS.has(summary)) return undefined;
  const params = parametersOf(bytes);
  const data = firstPayload(bytes);
  const hash = text(params, 'hash') || text(params, 'sha256');
  if (!data || !isHash(hash.toLowerCase())) return undefined;
  const keywords = Array.isArray(params?.keywords) ? params.keywords.filter((word) => typeof word === 'string') : [];
  return {
    ...{ hash: hash.toLowerCase(), data, keywords: keywords.slice(0, 8), mime: text(params, 'mimeType') },
    name: text(params, 'filename') || text(params, 'name'),
    uploader: text(params, 'submitter') || text(params, 'senderCallsign'),
    creatorUid: text(params, 'creatorUid'),
  };
}

/** `create resource`, without stamps and without its payload: that follows it (payloadHead). */
export function resourceRol(file: ResourceWords, size: number, wallMs: number): Buffer {
  return programRol('create resource', {
    filename: file.name.replace(UNSAFE, '_'),
    keywords: file.keywords,
    mimeType: file.mime,
    name: file.name.replace(UNSAFE, '_'),
    submissionTime: isoTime(wallMs),
    submitter: file.uploader,
    uid: file.hash,
    creatorUid: file.creatorUid,
    hash: file.hash,
    size,
  });
}

/** What stands before `size` bytes of a file that are the last field of a ROL. */
export function payloadHead(size: number): Buffer {
  const data = tagged(lengthTag(2), size);
  return Buffer.concat([tagged(PAYLOAD, data.length + size), data]);
}

// --- parts -----------------------------------------------------------------------------------------------------------

function announcement(bytes: Buffer): { readonly event: CotEvent; readonly xml: Buffer } | undefined {
  const params = parametersOf(bytes);
  const hash = text(params, 'sha256').toLowerCase();
  if (!params || !isHash(hash)) return undefined;
  const to = objectOf(text(params, 'senderUid'));
  try {
    return theEvent(text(to, 'cot'), hash) ?? madeEvent(hash, params, to);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** As another Waystation wrote it, if it is about the same file. */
function theEvent(cot: string, hash: string) {
  if (cot === '' || cot.length > MAX_XML_BYTES) return undefined;
  const xml = Buffer.from(cot);
  const event = scanCot(xml);
  return event.type.startsWith(OFFER_TYPE) && fileShareOf(xml)?.hash === hash ? { event, xml } : undefined;
}

/** As TAK Server makes it. One uid for each announcement: the same file may be sent to several people. */
function madeEvent(hash: string, params: Parameters, to: Parameters | undefined) {
  const stored = params.tsStored;
  const timeMs = typeof stored === 'string' ? Date.parse(stored) : Number(stored);
  const size = Number(params.sizeInBytes);
  if (!Number.isSafeInteger(timeMs) || timeMs <= 0 || !Number.isSafeInteger(size) || size < 1) return undefined;
  const name = text(params, 'filename') || text(params, 'name');
  const callsign = text(params, 'senderCallsign') || text(params, 'name');
  const said = createHash('sha256').update(JSON.stringify(params)).digest('hex');
  const share = [
    attribute('filename', name),
    attribute('senderUrl', ''),
    attribute('sizeInBytes', String(size)),
    attribute('sha256', hash),
    attribute('senderUid', hash),
    attribute('senderCallsign', callsign),
    attribute('name', text(params, 'name') || name),
  ];
  const dests = [
    ...list(to, 'uids').map((uid) => attribute('uid', uid)),
    ...list(to, 'callsigns').map((name) => attribute('callsign', name)),
  ];
  const marti = dests.length > 0 ? `<marti>${dests.map((dest) => `<dest${dest}/>`).join('')}</marti>` : '';
  const head = { uid: `package-${hash.slice(0, 16)}-${said.slice(0, 8)}`, type: OFFER_TYPE, how: 'h-e' };
  const place = { lat: 0, lon: 0, hae: UNKNOWN_METRES, ce: UNKNOWN_METRES, le: UNKNOWN_METRES };
  const times = { timeMs, startMs: timeMs, staleMs: timeMs + STALE_MS };
  const xml = eventXml({ ...head, ...place, ...times }, `<detail><fileshare${share.join('')}/>${marti}</detail>`);
  return { event: scanCot(xml), xml };
}

type Parameters = Readonly<Record<string, unknown>>;

/** The parameters of a program of one statement; undefined: it has none that can be read. */
function parametersOf(bytes: Buffer): Parameters | undefined {
  const reader = new ProtoReader(bytes);
  let program = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== PROGRAM) reader.skip(tag);
    else {
      const content = reader.bytes();
      if (content.length > MAX_PROGRAM_BYTES) return undefined;
      program = content.toString('utf8');
    }
  }
  const json = /^\s*\w+\s+\w+\s*(\{[\s\S]*\})\s*;\s*$/.exec(program)?.[1];
  return json === undefined ? undefined : objectOf(json);
}

/** An object in JSON; undefined: it is none. */
function objectOf(json: string): Parameters | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Parameters) : undefined;
  } catch {
    return undefined;
  }
}

function text(params: Parameters | undefined, name: string): string {
  const value = params?.[name];
  return typeof value === 'string' ? value : '';
}

function list(params: Parameters | undefined, name: string): readonly string[] {
  const value = params?.[name];
  if (!Array.isArray(value)) return [];
  return value.filter((entry) => typeof entry === 'string' && entry !== '').slice(0, MAX_DESTS);
}

/** ROL.payload[0].data */
function firstPayload(bytes: Buffer): Buffer | undefined {
  const reader = new ProtoReader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== PAYLOAD) {
      reader.skip(tag);
      continue;
    }
    const blob = new ProtoReader(reader.bytes());
    let data: Buffer | undefined;
    while (blob.more()) {
      const inner = blob.tag();
      if (inner === lengthTag(2)) data = blob.bytes();
      else blob.skip(inner);
    }
    return data && data.length > 0 ? data : undefined;
  }
  return undefined;
}

function programRol(words: string, parameters: Parameters): Buffer {
  writer.reset();
  writer.string(1, `${words}\n${JSON.stringify(parameters)};`);
  return writer.finish();
}

function tagged(tag: number, length: number): Buffer {
  const bytes = Buffer.alloc(varintLength(tag) + varintLength(length));
  writeVarint(bytes, writeVarint(bytes, 0, tag), length);
  return bytes;
}

function isHash(hash: string): boolean {
  return /^[0-9a-f]{64}$/.test(hash);
}
