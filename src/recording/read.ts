// What was recorded: lines of "waystation watch --json", of the relay's own ring, or a file of CoT events. Read as a stream: a day of
// a busy relay is large.
import { createReadStream } from 'node:fs';
import { FatalError } from '../lib/errors.ts';

/** Longest line, or event. */
const MAX_EVENT_CHARS = 512 << 10;

export interface Recorded {
  /** When it was received; of a CoT file, its own time. Milliseconds since the epoch. */
  readonly atMs: number;
  readonly uid: string;
  readonly type: string;
  readonly callsign: string;
  readonly lat: number;
  readonly lon: number;
  readonly xml: string;
}

/** The events of a recording in their order; what cannot be read is left out. @throws FatalError when the file cannot be read, or holds none */
export async function* readRecording(file: string): AsyncGenerator<Recorded> {
  let count = 0;
  try {
    for await (const event of readEvents(createReadStream(file, 'utf8'))) {
      count++;
      yield event;
    }
  } catch (error) {
    const fix = 'name a file written by "waystation watch --json", or of CoT events';
    throw new FatalError('no_input', `cannot read ${file}: ${(error as Error).message}`, fix, error);
  }
  if (count === 0)
    throw new FatalError('no_events', `${file} holds no event`, 'record with "waystation watch --json > FILE"');
}

/** The events of a text that comes in pieces; what cannot be read is left out. Throws Error when it is no recording. */
export async function* readEvents(pieces: AsyncIterable<string>): AsyncGenerator<Recorded> {
  let rest = '';
  let kind: 'lines' | 'events' | undefined;
  for await (const piece of pieces) {
    rest += piece;
    kind ??= rest.trimStart() === '' ? undefined : rest.trimStart().startsWith('{') ? 'lines' : 'events';
    const end = kind === 'lines' ? '\n' : '</event>';
    for (let cut = rest.indexOf(end); cut >= 0; cut = rest.indexOf(end)) {
      const found = (kind === 'lines' ? fromLine : fromXml)(rest.slice(0, cut + end.length));
      rest = rest.slice(cut + end.length);
      if (found) yield found;
    }
    if (rest.length > MAX_EVENT_CHARS) throw new Error('it is no recording: an event in it does not end');
  }
  const last = kind === 'lines' ? fromLine(rest) : undefined;
  if (last) yield last;
}

function fromLine(line: string): Recorded | undefined {
  try {
    const { received, xml } = JSON.parse(line) as { received?: unknown; xml?: unknown };
    const event = typeof xml === 'string' ? fromXml(xml) : undefined;
    const atMs = Date.parse(String(received));
    return event && Number.isFinite(atMs) ? { ...event, atMs } : event;
  } catch {
    return undefined; // cut short when the recording ended, or not ours
  }
}

function fromXml(text: string): Recorded | undefined {
  const begin = text.search(/<event[\s>]/);
  if (begin < 0) return undefined;
  const xml = text.slice(begin).trimEnd();
  const head = xml.slice(0, xml.indexOf('>') + 1);
  const value = (from: string, name: string) =>
    new RegExp(`\\s${name}\\s*=\\s*["']([^"'<]*)["']`).exec(from)?.[1] ?? '';
  const point = /<point\s[^<>]*>/.exec(xml)?.[0] ?? '';
  const contact = /<contact\s[^<>]*>/.exec(xml)?.[0] ?? '';
  const [lat, lon] = [Number(value(point, 'lat') || Number.NaN), Number(value(point, 'lon') || Number.NaN)];
  const atMs = Date.parse(value(head, 'time'));
  if (!Number.isFinite(atMs)) return undefined;
  return {
    atMs,
    uid: value(head, 'uid'),
    type: value(head, 'type'),
    callsign: value(contact, 'callsign'),
    lat,
    lon,
    xml,
  };
}
