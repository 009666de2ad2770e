// How a unit moves, by what its event says in whatever format it came. Not among the fields of a CotEvent: it is looked for only
// where it decides something, which is on thin lines, and not for every event that passes.
import type { Envelope, Track, Wire } from '../core/message.ts';
import { fixed64Tag, lengthTag, ProtoReader } from './proto.ts';
import { readTak } from './tak-fields.ts';

const EVENT = lengthTag(1);
const OTHER = lengthTag(12);
const SPEED = fixed64Tag(20);
const COURSE = fixed64Tag(21);
const NOTHING = Buffer.alloc(0);
const NONE: ReadonlySet<string> = new Set();
const TRACK = '<track';
/** A <track> is shorter. */
const MAX_TAG_BYTES = 512;
const VALUE = /\s(course|speed)\s*=\s*(?:"([^"]+)"|'([^']+)')/g;

/** undefined: the message says nothing of it, or not both course and speed. */
export function trackOf({ message, wire }: Pick<Envelope, 'message' | 'wire'>): Track | undefined {
  return message.kind === 'event' && wire ? trackIn(wire) : undefined;
}

function trackIn({ format, bytes }: Wire): Track | undefined {
  switch (format) {
    case 'xml':
      return xmlTrack(bytes);
    case 'tak': {
      const event = readTak(bytes, true);
      // detail.proto: of an element that is there twice the XML one counts.
      return xmlTrack(event.xmlDetail) ?? tagTrack(event.typedXml(NONE));
    }
    case 'fed':
      return geoTrack(bytes);
    default:
      return undefined;
  }
}

/** fig.proto GeoEvent: speed and course, unless the detail has a <track>, which counts before them. */
function geoTrack(bytes: Buffer): Track | undefined {
  const reader = new ProtoReader(bytes);
  const fields = { course: Number.NaN, speed: Number.NaN };
  let detail: Buffer = NOTHING;
  while (reader.more()) {
    const event = reader.tag();
    if (event !== EVENT) {
      reader.skip(event);
      continue;
    }
    const outer = reader.enter();
    while (reader.more()) {
      const tag = reader.tag();
      if (tag === OTHER) detail = reader.bytes();
      else if (tag === SPEED) fields.speed = reader.double();
      else if (tag === COURSE) fields.course = reader.double();
      else reader.skip(tag);
    }
    reader.leave(outer);
  }
  return xmlTrack(detail) ?? known(fields);
}

function xmlTrack(xml: Buffer): Track | undefined {
  const at = xml.indexOf(TRACK);
  return at < 0 ? undefined : tagTrack(xml.toString('latin1', at, at + MAX_TAG_BYTES));
}

/** By the first <track> in the text. */
function tagTrack(text: string): Track | undefined {
  const start = text.indexOf(TRACK);
  const end = text.indexOf('>', start);
  if (start < 0 || end < 0) return undefined;
  const values: { course?: number; speed?: number } = {};
  for (const [, name, double, single] of text.slice(start + TRACK.length, end).matchAll(VALUE)) {
    values[name as keyof typeof values] = Number(double ?? single);
  }
  const { course = Number.NaN, speed = Number.NaN } = values;
  return known({ course, speed });
}

/** Phones write NaN for a course that they do not know. */
function known(track: Track): Track | undefined {
  return Number.isFinite(track.course) && Number.isFinite(track.speed) ? track : undefined;
}
