// CoT as XML, the writing half: the small messages of the streaming protocol, and changes to an event that leave every
// byte alone which they do not concern. Functions that take an event expect one that scanCot() has accepted.
import { randomUUID } from 'node:crypto';
import type { CotEvent } from '../core/message.ts';
import { trimCot } from './cot.ts';
import { UNKNOWN_METRES } from './cot-fields.ts';
import { type Element, type Outline, outlineEvent } from './cot-outline.ts';
import { escapeXml, isXmlName, MAX_ATTRIBUTES } from './xml.ts';

/** cotmessage.cpp STALE_TIME_PING */
const PING_STALE_MS = 10_000;
/** TAK Server's pong and disconnect notices. */
const NOTICE_STALE_MS = 20_000;
/** How long a server must look for the answer to its offer (protocol.txt). */
const NEGOTIATION_STALE_MS = 60_000;
const FLOW_TAGS = '_flow-tags_';

/** An ISO-8601 time in UTC, always with milliseconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** A number as ATAK writes it: at least one decimal, and no exponent unless it is huge. */
export function decimal(n: number): string {
  if (Number.isInteger(n)) return n.toFixed(1);
  const [digits = '', exponent] = String(Math.abs(n)).split('e-');
  const sign = n < 0 ? '-' : '';
  if (exponent === undefined) return sign + digits;
  return `${sign}0.${'0'.repeat(Number(exponent) - 1)}${digits.replace('.', '')}`;
}

/** A client's "are you there", to a server (t-x-c-t). */
export function pingXml(uid: string, nowMs: number): Buffer {
  return notice({ uid: `${uid}-ping`, type: 't-x-c-t', how: 'm-g', nowMs, staleMs: PING_STALE_MS }, '<detail/>');
}

/** A server's answer to a ping (t-x-c-t-r). */
export function pongXml(nowMs: number): Buffer {
  return notice({ uid: 'takPong', type: 't-x-c-t-r', how: 'h-g-i-g-o', nowMs, staleMs: NOTICE_STALE_MS }, '<detail/>');
}

/** Tells that the client `uid`, whose positions were of `type`, has left (t-x-d-d). */
export function disconnectXml(uid: string, type: string, nowMs: number): Buffer {
  const link = `<detail><link relation="p-p"${attribute('uid', uid)}${attribute('type', type)}/></detail>`;
  return notice({ uid: randomUUID(), type: 't-x-d-d', how: 'h-g-i-g-o', nowMs, staleMs: NOTICE_STALE_MS }, link);
}

/** A server's offer to speak TAK protocol `version` (t-x-takp-v). Its uid is used again in request and response. */
export function takpOfferXml(uid: string, version: number, nowMs: number): Buffer {
  return negotiation(uid, 't-x-takp-v', `<TakProtocolSupport version="${version}"/>`, nowMs);
}

/** A client's request to change over to `version` (t-x-takp-q). */
export function takpRequestXml(uid: string, version: number, nowMs: number): Buffer {
  return negotiation(uid, 't-x-takp-q', `<TakRequest version="${version}"/>`, nowMs);
}

/** The server's answer to a request (t-x-takp-r). After `accepted` both directions change over. */
export function takpResponseXml(uid: string, accepted: boolean, nowMs: number): Buffer {
  return negotiation(uid, 't-x-takp-r', `<TakResponse status="${accepted}"/>`, nowMs);
}

/** The credentials that a client may have to send first. */
export function authXml(auth: { username: string; password: string; uid: string; callsign: string }): Buffer {
  const { username, password, uid, callsign } = auth;
  const cot = [
    attribute('username', username),
    attribute('password', password),
    attribute('uid', uid),
    attribute('callsign', callsign),
  ];
  return Buffer.from(`<auth><cot${cot.join('')}/></auth>`);
}

export interface RelaySa {
  readonly uid: string;
  readonly callsign: string;
  readonly team: string;
  readonly role: string;
  readonly nowMs: number;
  /** How long it is good for, in milliseconds. */
  readonly staleMs: number;
  /** Where the relay stands; without it 0, 0 with an unknown error. */
  readonly lat?: number;
  readonly lon?: number;
}

/** The relay's own position report, as servers want to see one before anything else from a client. */
export function relaySaXml(sa: RelaySa): Buffer {
  const detail =
    `<takv device="relay" platform="Waystation" os="" version=""/>` +
    `<contact${attribute('callsign', sa.callsign)} endpoint="*:-1:stcp"/>` +
    `<uid${attribute('Droid', sa.callsign)}/>` +
    `<__group${attribute('name', sa.team)}${attribute('role', sa.role)}/>`;
  const { uid, nowMs, staleMs, lat, lon } = sa;
  return notice({ uid, type: 'a-f-G-U-C', how: 'm-g', nowMs, staleMs, lat, lon }, `<detail>${detail}</detail>`);
}

/** Attributes of <event> that a CotEvent does not have. '' or absent: not written. */
export interface EventExtras {
  readonly access?: string;
  readonly caveat?: string;
  readonly releasableTo?: string;
  readonly qos?: string;
  readonly opex?: string;
}

type PlainHeader = Pick<
  CotEvent,
  'uid' | 'type' | 'how' | 'timeMs' | 'startMs' | 'staleMs' | 'lat' | 'lon' | 'hae' | 'ce' | 'le'
>;

/** Writes an event from its header and its detail: a whole <detail> element that scanDetail() accepts, kept verbatim. */
export function eventXml(header: PlainHeader, detailXml: Buffer | string, extras: EventExtras = {}): Buffer {
  const head =
    `<event version="2.0"${attribute('uid', header.uid)}${attribute('type', header.type)}` +
    ` time="${isoTime(header.timeMs)}" start="${isoTime(header.startMs)}" stale="${isoTime(header.staleMs)}"` +
    `${attribute('how', header.how)}${extraAttributes(extras)}><point lat="${decimal(header.lat)}"` +
    ` lon="${decimal(header.lon)}" hae="${decimal(header.hae)}" ce="${decimal(header.ce)}" le="${decimal(header.le)}"/>`;
  if (typeof detailXml === 'string') return Buffer.from(`${head}${detailXml}</event>`);
  return Buffer.concat([Buffer.from(head), detailXml, Buffer.from('</event>')]);
}

/** The <detail> element, verbatim; `<detail/>` when there is none. Shares memory with `xml`. */
export function detailOf(xml: Buffer): Buffer {
  const event = trimCot(xml);
  const { detail } = outlineEvent(event, []);
  return detail ? event.subarray(detail.start, detail.end) : Buffer.from('<detail/>');
}

/** Marks the event as having passed the server `tagName` (an XML name). Returned as it is when it is marked already. */
export function withFlowTag(xml: Buffer, tagName: string, nowMs: number): Buffer {
  if (!isXmlName(tagName)) throw new TypeError(`not an XML name: ${tagName}`);
  const event = trimCot(xml);
  const outline = outlineEvent(event, [FLOW_TAGS]);
  if (outline.children.some((flow) => flow.attributes.has(tagName))) return event;
  const mark = ` ${tagName}="${isoTime(nowMs)}"`;
  // A full element would be refused by the next reader; a second one is read as well.
  const flow = outline.children.find((element) => element.attributes.size < MAX_ATTRIBUTES);
  if (flow) return insert(event, flow.tagEnd - (flow.empty ? 2 : 1), mark);
  return addToDetail(event, outline, `<${FLOW_TAGS}${mark}/>`);
}

/** Addresses the event, unless it has a <marti> already. */
export function withMartiDest(xml: Buffer, uids: readonly string[], callsigns: readonly string[]): Buffer {
  const event = trimCot(xml);
  const outline = outlineEvent(event, ['marti']);
  if (outline.children.length > 0 || uids.length + callsigns.length === 0) return event;
  const dests = [...uids.map((uid) => attribute('uid', uid)), ...callsigns.map((name) => attribute('callsign', name))];
  return addToDetail(event, outline, `<marti>${dests.map((dest) => `<dest${dest}/>`).join('')}</marti>`);
}

/** Takes the addresses away, as TAK servers do before they deliver. */
export function stripMarti(xml: Buffer): Buffer {
  const event = trimCot(xml);
  const { children } = outlineEvent(event, ['marti']);
  return children.length === 0 ? event : without(event, children);
}

/** bytes[from..to) without some of the elements in it, which do not overlap and stand in order. */
export function without(bytes: Buffer, elements: readonly Element[], from = 0, to = bytes.length): Buffer {
  const kept: Buffer[] = [];
  let at = from;
  for (const { start, end } of elements) {
    kept.push(bytes.subarray(at, start));
    at = end;
  }
  return Buffer.concat([...kept, bytes.subarray(at, to)]);
}

/** ` name="value"`, the value escaped; '' when the value is undefined. */
export function attribute(name: string, value: string | undefined): string {
  return value === undefined ? '' : ` ${name}="${escapeXml(value)}"`;
}

function extraAttributes(extras: EventExtras): string {
  const given = (['access', 'caveat', 'releasableTo', 'qos', 'opex'] as const).filter((name) => extras[name]);
  return given.map((name) => attribute(name, extras[name])).join('');
}

function addToDetail(event: Buffer, { event: root, detail }: Outline, text: string): Buffer {
  if (!detail) return insert(event, root!.closeStart, `<detail>${text}</detail>`);
  if (!detail.empty) return insert(event, detail.closeStart, text);
  const opened = Buffer.from(`>${text}</detail>`);
  return Buffer.concat([event.subarray(0, detail.tagEnd - 2), opened, event.subarray(detail.tagEnd)]);
}

function insert(bytes: Buffer, at: number, text: string): Buffer {
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(text), bytes.subarray(at)]);
}

function negotiation(uid: string, type: string, control: string, nowMs: number): Buffer {
  const detail = `<detail><TakControl>${control}</TakControl></detail>`;
  return notice({ uid, type, how: 'm-g', nowMs, staleMs: NEGOTIATION_STALE_MS }, detail);
}

interface Notice {
  readonly uid: string;
  readonly type: string;
  readonly how: string;
  readonly nowMs: number;
  /** How long it is good for. */
  readonly staleMs: number;
  readonly lat?: number | undefined;
  readonly lon?: number | undefined;
}

/** An event of which only the fact matters: no place unless given, errors unknown. */
function notice(what: Notice, detail: string): Buffer {
  const { uid, type, how, nowMs, staleMs, lat = 0, lon = 0 } = what;
  const times = { timeMs: nowMs, startMs: nowMs, staleMs: nowMs + staleMs };
  const place = { lat, lon, hae: UNKNOWN_METRES, ce: UNKNOWN_METRES, le: UNKNOWN_METRES };
  return eventXml({ uid, type, how, ...times, ...place }, detail);
}
