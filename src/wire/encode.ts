// From whatever wire a message came to whatever wire it leaves by: the only place that knows every pair of formats.
//
//          xml            tak            fed                      rol
//   xml    as it came     takFromXml     federatedFromXml         rolFromOffer: what announces a file
//   tak    xmlFromTak     as it came     by way of xml            by way of xml
//   fed    xmlFromFed.    by way of xml  forwarded, stamped anew  by way of xml
//   rol    xmlFromRol     by way of xml  by way of xml            forwarded, stamped anew
//   made   a leave        a leave        contacts                 -      ("made": by the relay, without a wire)
//
// Each form is made once for all peers that are told at about the same time: nobody may change a returned buffer. Links ask carries()
// before; to encode what a format cannot say is a fault of ours and throws TypeError.
import type { Encoding, Envelope, Provenance } from '../core/message.ts';
import { scanCot } from './cot.ts';
import { disconnectXml } from './cot-write.ts';
import { contactFederated, forwardFederated } from './federation.ts';
import { type GroupHops, lesser } from './federation-stamps.ts';
import { federatedFromXml, xmlFromFederated } from './federation-xml.ts';
import { payloadHead, type ResourceWords, resourceRol, rolFromOffer, withSenderUrl, xmlFromRol } from './package.ts';
import { takFromXml, xmlFromTak } from './tak.ts';

/** link@type of a leave notice about a contact of whom only the name is known: a person with a phone. */
const UNIT_TYPE = 'a-f-G-U-C';

/**
 * Envelopes of which encodings are kept: those that were encoded latest. The 20,000 contacts and 10,000 units of the picture would
 * hold on to 60 MB of them, for nobody but who is told late.
 */
const MAX_ENCODED = 256;
/** Bytes of their encodings. */
const MAX_ENCODED_BYTES = 1 << 20;

/** A ring: the one encoded first at `oldest`. */
const encoded: (Envelope | undefined)[] = new Array(MAX_ENCODED).fill(undefined);
let oldest = 0;
let count = 0;
let bytesKept = 0;

/** The encoding under `key`, if it is kept. */
export function encodingOf({ encodings }: Envelope, key: string): Buffer | undefined {
  for (let one: Encoding | undefined = encodings; one; one = one.next) if (one.key === key) return one.bytes;
  return undefined;
}

/** The encoding under `key`, made when it is asked for. Links keep their framed forms here as well. */
export function memo(envelope: Envelope, key: string, make: () => Buffer): Buffer {
  const known = encodingOf(envelope, key);
  if (known) return known;
  const made = make();
  if (!envelope.encodings) enter(envelope);
  envelope.encodings = { key, bytes: made, next: envelope.encodings };
  bytesKept += made.length;
  while (bytesKept > MAX_ENCODED_BYTES && count > 1) dropOldest();
  return made;
}

function enter(envelope: Envelope): void {
  if (count === MAX_ENCODED) dropOldest();
  encoded[(oldest + count++) % MAX_ENCODED] = envelope;
}

function dropOldest(): void {
  const envelope = encoded[oldest]!;
  for (let one = envelope.encodings; one; one = one.next) bytesKept -= one.bytes.length;
  envelope.encodings = undefined;
  encoded[oldest] = undefined;
  oldest = (oldest + 1) % MAX_ENCODED;
  count--;
}

/** One CoT event: events, and contacts that went. */
export function asXml(envelope: Envelope): Buffer {
  const { wire } = envelope;
  return wire?.format === 'xml' ? wire.bytes : memo(envelope, 'xml', () => makeXml(envelope));
}

/** An announcement of a file with its file at `url`; the same envelope when it names no place. */
export function relocated(envelope: Envelope, url: string): Envelope {
  const changed = withSenderUrl(asXml(envelope), url);
  return changed ? { ...envelope, wire: { format: 'xml', bytes: changed }, encodings: undefined } : envelope;
}

/** One TakMessage, without framing: events, and contacts that went. */
export function asTak(envelope: Envelope): Buffer {
  const { wire } = envelope;
  return wire?.format === 'tak' ? wire.bytes : memo(envelope, 'tak', () => makeTak(envelope));
}

/**
 * One FederatedEvent, without framing: events and contacts. It says `groups`, this relay (`self`) as the last server
 * passed, one hop more than the message had made, and how many it may make by `groupHops`.
 */
export function asFederated(
  envelope: Envelope,
  groups: readonly string[],
  self: Provenance,
  groupHops?: GroupHops,
): Buffer {
  return memo(envelope, stampedKey('fed', envelope, groups, self, groupHops), () =>
    federated(envelope, groups, self, groupHops),
  );
}

/** The same, which is not kept: for what came as `fed`, of which it costs little, and who keeps it in a form of his own. */
export function federated(
  envelope: Envelope,
  groups: readonly string[],
  self: Provenance,
  groupHops?: GroupHops,
): Buffer {
  const { wire } = envelope;
  const bytes = wire?.format === 'fed' ? wire.bytes : makeFederated(envelope);
  return stamped(bytes, envelope, groups, self, groupHops);
}

/** One ROL, without framing: missions, and what announces a file. Stamped as asFederated() does. */
export function asRol(envelope: Envelope, groups: readonly string[], self: Provenance, groupHops?: GroupHops): Buffer {
  return memo(envelope, stampedKey('rol', envelope, groups, self, groupHops), () => {
    const { wire } = envelope;
    const bytes = wire?.format === 'rol' ? wire.bytes : makeRol(envelope);
    return stamped(bytes, envelope, groups, self, groupHops);
  });
}

/** All of a ROL that brings the file of an announcement, but for the bytes of the file, which stand at its end. */
export function fileRol(
  file: ResourceWords & { readonly size: number },
  envelope: Envelope,
  groups: readonly string[],
  self: Provenance,
  groupHops?: GroupHops,
): Buffer {
  const rol = resourceRol(file, file.size, envelope.receivedWallMs);
  return Buffer.concat([stamped(rol, envelope, groups, self, groupHops), payloadHead(file.size)]);
}

function makeXml(envelope: Envelope): Buffer {
  const { message, wire, receivedWallMs } = envelope;
  if (message.kind === 'contact' && message.op === 'delete') {
    return disconnectXml(message.contact.uid, UNIT_TYPE, receivedWallMs);
  }
  if (message.kind === 'event' && wire?.format === 'tak') return xmlFromTak(wire.bytes);
  if (message.kind === 'event' && wire?.format === 'fed') return xmlFromFederated(wire.bytes, message.event);
  if (message.kind === 'event' && wire?.format === 'rol') return xmlFromRol(wire.bytes);
  throw unsayable(envelope, 'XML');
}

function makeTak(envelope: Envelope): Buffer {
  const { message } = envelope;
  const xml = asXml(envelope);
  return takFromXml(xml, message.kind === 'event' ? message.event : scanCot(xml));
}

function makeFederated(envelope: Envelope): Buffer {
  const { message } = envelope;
  if (message.kind === 'contact') return contactFederated(message.op, message.contact);
  if (message.kind === 'event') return federatedFromXml(asXml(envelope), message.event);
  throw unsayable(envelope, 'FederatedEvent');
}

function makeRol(envelope: Envelope): Buffer {
  const { message } = envelope;
  const rol = message.kind === 'event' ? rolFromOffer(asXml(envelope), message.event) : undefined;
  if (!rol) throw unsayable(envelope, 'ROL');
  return rol;
}

function stamped(
  bytes: Buffer,
  envelope: Envelope,
  groups: readonly string[],
  self: Provenance,
  groupHops: GroupHops | undefined,
): Buffer {
  const { hops, provenance, wire } = envelope;
  // What came as federates write it says itself where it has been.
  const hasProvenance = bytes === wire?.bytes;
  return forwardFederated(bytes, {
    groups,
    self,
    hops: { max: lesser(hops.max, groupHops?.all ?? -1), current: hops.current + 1 },
    earlier: hasProvenance ? [] : provenance,
    groupHops,
  });
}

/** Most peers see the groups that the message came with; only others need their names spelt out. */
function stampedKey(
  format: 'fed' | 'rol',
  envelope: Envelope,
  groups: readonly string[],
  self: Provenance,
  groupHops: GroupHops | undefined,
): string {
  const key = groupHops ? `${format} ${self.id} ${groupHops.key}` : `${format} ${self.id}`;
  return groups === envelope.groups ? key : `${key}\n${groups.join('\n')}`;
}

function unsayable({ message }: Envelope, format: string): TypeError {
  return new TypeError(`${format} cannot say a ${message.kind}`);
}
