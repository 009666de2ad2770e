// What stands in a publication: CoT XML, a TAK protobuf datagram, or a sensor's JSON. It tells itself by its first byte.
import type { CotEvent, Envelope, Wire } from '../../core/message.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { scanCot } from '../../wire/cot.ts';
import { asTak, asXml, memo } from '../../wire/encode.ts';
import { frameMesh, meshPayload, scanTak } from '../../wire/tak.ts';
import type { Publication } from './broker.ts';
import { type SensorRules, sensorXml } from './sensor.ts';

export type Format = 'xml' | 'tak';

const BRACE = 0x7b;
const CONTENT_TYPES: Readonly<Record<Format, string>> = { xml: 'application/xml', tak: 'application/x-tak-protobuf' };

export function contentType(format: Format): string {
  return CONTENT_TYPES[format];
}

export function encoded(envelope: Envelope, format: Format): Buffer {
  return format === 'xml' ? asXml(envelope) : memo(envelope, 'mqtt-tak', () => frameMesh(asTak(envelope)));
}

export interface Reading {
  readonly event: CotEvent;
  readonly wire: Wire;
}

/** `sensors`: how JSON is read; undefined: it is refused. Throws ProtocolError. */
export function readPayload({ payload, topic }: Publication, sensors: SensorRules | undefined, nowMs: number): Reading {
  const tak = meshPayload(payload);
  // Own memory: the library's packet shares its chunk with whatever came beside it.
  if (tak) return reading('tak', Buffer.from(tak));
  if (firstByte(payload) !== BRACE) return reading('xml', Buffer.from(payload));
  if (!sensors) throw new ProtocolError('json_refused', 'JSON, which this link does not take (json)');
  return reading('xml', sensorXml(payload, topic, sensors, nowMs));
}

function reading(format: Format, bytes: Buffer): Reading {
  return { event: format === 'tak' ? scanTak(bytes) : scanCot(bytes), wire: { format, bytes } };
}

function firstByte(bytes: Buffer): number | undefined {
  return bytes.find((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09);
}
