// Positions as simple sensors and gateways publish them: one JSON object with a latitude and a longitude, becomes a CoT event.
// Names are read as common programs spell them: our own, OwnTracks, GPS trackers.
import * as z from 'zod';
import { ProtocolError } from '../../lib/errors.ts';
import { UNKNOWN_METRES } from '../../wire/cot-fields.ts';
import { attribute, decimal, eventXml } from '../../wire/cot-write.ts';
import { escapeXml, isXmlText } from '../../wire/xml.ts';
import { MAX_JSON_BYTES } from './limits.ts';

export interface SensorRules {
  /** CoT type of what does not say its own. */
  readonly type: string;
  readonly staleMs: number;
}

const NAMES = {
  uid: ['uid', 'id', 'device_id'],
  type: ['cot_type'],
  callsign: ['callsign', 'name', 'tid'],
  lat: ['lat', 'latitude'],
  lon: ['lon', 'lng', 'longitude'],
  hae: ['hae', 'alt', 'altitude'],
  ce: ['ce', 'acc', 'accuracy'],
  time: ['time', 'timestamp', 'tst'],
  speed: ['speed'],
  /** km/h, as OwnTracks has it. */
  velocity: ['vel'],
  course: ['course', 'cog', 'heading'],
  battery: ['battery', 'batt'],
  remarks: ['remarks', 'text'],
} as const;

const text = z.string().max(1024).refine(isXmlText);
/** Seconds since 1970, milliseconds since 1970, or ISO-8601. */
const time = z.union([z.number().min(0), z.iso.datetime({ offset: true })]).transform(momentOf);
const report = z.object({
  uid: z
    .union([text.min(1).max(200), z.int()])
    .transform(String)
    .optional(),
  type: z
    .string()
    .regex(/^[a-zA-Z0-9-]{3,100}$/)
    .optional(),
  callsign: text.max(200).optional(),
  lat: z.number().min(-90).max(90),
  lon: z.number().min(-180).max(180),
  hae: z.number().min(-100_000).max(1e7).optional(),
  ce: z.number().min(0).max(1e7).optional(),
  time: time.optional(),
  speed: z.number().min(0).max(1e5).optional(),
  velocity: z.number().min(0).max(1e5).optional(),
  course: z.number().min(0).max(360).optional(),
  battery: z.number().min(0).max(100).optional(),
  remarks: text.optional(),
});

/** Numbers above this are milliseconds: as seconds it would be the year 5138. */
const LARGEST_SECONDS = 1e11;

function momentOf(value: number | string): number {
  if (typeof value === 'string') return Date.parse(value);
  return value < LARGEST_SECONDS ? value * 1000 : value;
}

/** The event, as XML. What says no uid is known by its topic. Throws ProtocolError. */
export function sensorXml(json: Buffer, topic: string, rules: SensorRules, nowMs: number): Buffer {
  const { uid, callsign, type, lat, lon, hae, ce, time: at, ...rest } = parsed(json);
  const known = uid ?? `mqtt-${topic}`.slice(0, 200);
  if (!isXmlText(known)) throw new ProtocolError('bad_json', 'a topic that cannot be a uid');
  const timeMs = Math.round(at ?? nowMs);
  return eventXml(
    {
      uid: known,
      type: type ?? rules.type,
      how: 'm-g',
      timeMs,
      startMs: timeMs,
      staleMs: timeMs + rules.staleMs,
      lat,
      lon,
      hae: hae ?? UNKNOWN_METRES,
      ce: ce ?? UNKNOWN_METRES,
      le: UNKNOWN_METRES,
    },
    detailXml(callsign ?? known, rest),
  );
}

function detailXml(
  callsign: string,
  {
    speed,
    velocity,
    course,
    battery,
    remarks,
  }: Pick<z.output<typeof report>, 'speed' | 'velocity' | 'course' | 'battery' | 'remarks'>,
): string {
  const metresPerSecond = speed ?? (velocity === undefined ? undefined : velocity / 3.6);
  const moves = metresPerSecond !== undefined || course !== undefined;
  const track = `<track speed="${decimal(metresPerSecond ?? 0)}" course="${decimal(course ?? 0)}"/>`;
  return [
    `<detail><contact${attribute('callsign', callsign)}/>`,
    moves ? track : '',
    battery === undefined ? '' : `<status battery="${Math.round(battery)}"/>`,
    remarks === undefined ? '' : `<remarks>${escapeXml(remarks)}</remarks>`,
    '</detail>',
  ].join('');
}

function parsed(json: Buffer): z.output<typeof report> {
  if (json.length > MAX_JSON_BYTES) throw new ProtocolError('large_json', `more than ${MAX_JSON_BYTES} bytes of JSON`);
  let value: unknown;
  try {
    value = JSON.parse(json.toString('utf8'));
  } catch {
    throw new ProtocolError('bad_json', 'neither CoT nor JSON');
  }
  if (typeof value !== 'object' || value === null) throw new ProtocolError('bad_json', 'no JSON object');
  const result = report.safeParse(renamed(value as Record<string, unknown>));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new ProtocolError('bad_json', `${issue!.path.join('.') || 'it'}: ${issue!.message}`);
}

/** Null is what programs write for what they do not know. */
function renamed(value: Record<string, unknown>): Record<string, unknown> {
  const found = Object.entries(NAMES).map(([name, spellings]) => {
    const spelling = spellings.find((one) => Object.hasOwn(value, one) && value[one] !== null);
    return [name, spelling === undefined ? undefined : value[spelling]] as const;
  });
  return Object.fromEntries(found.filter(([, one]) => one !== undefined));
}
