// A load that was recorded: the lines of `waystation watch --json`, in the pace in which they came.
import { NO_DETAIL, type Track } from '../core/message.ts';
import type { LiveEvent } from '../core/status.ts';
import { FatalError } from '../lib/errors.ts';
import { type Offered, WALL_START_MS } from './load.ts';

/** Most lines read. */
export const MAX_LINES = 1_000_000;

/** @param bytes what an event weighs on the line; undefined: what its XML does. @throws FatalError with the line that cannot be read */
export function recordedLoad(text: string, bytes?: number): Offered[] {
  const lines = text.split('\n', MAX_LINES).filter((line) => line.trim() !== '');
  const live = lines.map(read);
  const first = live.reduce((least, { received }) => Math.min(least, Date.parse(received)), Number.POSITIVE_INFINITY);
  return live.map((event) => offered(event, first, bytes)).sort((a, b) => a.atMs - b.atMs);
}

function read(line: string, index: number): LiveEvent {
  const event = parsed(line) as Partial<LiveEvent> | undefined;
  const times = [event?.received, event?.time, event?.stale].map((time) => Date.parse(String(time)));
  const texts = [event?.uid, event?.type, event?.xml];
  const sound =
    texts.every((value) => typeof value === 'string') &&
    times.every(Number.isFinite) &&
    Number.isFinite(event?.lat) &&
    Number.isFinite(event?.lon);
  if (sound) return event as LiveEvent;
  throw new FatalError(
    'bad_recording',
    `line ${index + 1} of the recording is no event`,
    'record with: waystation watch --json > FILE',
  );
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function offered(live: LiveEvent, firstMs: number, bytes: number | undefined): Offered {
  const { uid, type, callsign = '', lat, lon, xml } = live;
  const atMs = Date.parse(live.received) - firstMs;
  const moved = (time: string) => WALL_START_MS + Date.parse(time) - firstMs;
  const times = { timeMs: moved(live.time), startMs: moved(live.time), staleMs: moved(live.stale) };
  const event = { ...NO_DETAIL, uid, type, callsign, lat, lon, how: howOf(xml), ...times, hae: 0, ce: 10, le: 10 };
  return { atMs, event, bytes: bytes ?? Buffer.byteLength(xml), track: trackOf(xml) };
}

/** A live event does not tell how it was made; its XML does. */
function howOf(xml: string): string {
  return /\show=["']([^"']{1,64})["']/.exec(xml)?.[1] ?? 'm-g';
}

function trackOf(xml: string): Track | undefined {
  const tag = /<track\s[^>]{1,256}/.exec(xml)?.[0] ?? '';
  const value = (name: string) => Number(new RegExp(`\\s${name}=["']([^"']{1,32})["']`).exec(tag)?.[1] ?? Number.NaN);
  const track = { course: value('course'), speed: value('speed') };
  return Number.isFinite(track.course + track.speed) ? track : undefined;
}
