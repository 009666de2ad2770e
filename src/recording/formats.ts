// A recording as other programs read it: CoT, GPX (tracks), KML (tracks on a time line).
import type { Recorded } from './read.ts';

export type Format = keyof typeof FORMATS;

/** `write` makes lines; of tracks no more than `most` points, and a comment at the end when there were more. */
export const FORMATS = {
  cot: { type: 'application/xml', ending: 'cot.xml', write: cot },
  gpx: { type: 'application/gpx+xml', ending: 'gpx', write: gpx },
  kml: { type: 'application/vnd.google-earth.kml+xml', ending: 'kml', write: kml },
} as const;

async function* cot(events: AsyncIterable<Recorded>): AsyncGenerator<string> {
  for await (const { xml } of events) yield xml;
}

interface Track {
  name: string;
  readonly points: { readonly lat: number; readonly lon: number; readonly atMs: number }[];
}

interface Tracks {
  readonly tracks: readonly Track[];
  /** What to say at the end of the file. */
  readonly remark: string;
}

/** By uid; only what has a place (0, 0 is TAK's "nowhere"), and units (a-): markers do not move. */
async function tracksOf(events: AsyncIterable<Recorded>, most: number): Promise<Tracks> {
  const found = new Map<string, Track>();
  let count = 0;
  for await (const { uid, type, callsign, lat, lon, atMs } of events) {
    const isPlace = Math.abs(lat) <= 90 && Math.abs(lon) <= 180 && (lat !== 0 || lon !== 0);
    if (!type.startsWith('a-') || !isPlace || ++count > most) continue;
    const track = found.get(uid) ?? { name: '', points: [] };
    track.name = callsign || track.name || uid;
    track.points.push({ lat, lon, atMs });
    found.set(uid, track);
  }
  const remark = count > most ? `<!-- ${count - most} of ${count} points are left out: export a shorter time -->` : '';
  return { tracks: [...found.values()], remark };
}

/** GPX 1.1. */
async function* gpx(events: AsyncIterable<Recorded>, most: number): AsyncGenerator<string> {
  const { tracks, remark } = await tracksOf(events, most);
  yield '<?xml version="1.0" encoding="UTF-8"?>';
  yield '<gpx version="1.1" creator="Waystation" xmlns="http://www.topografix.com/GPX/1/1">';
  for (const { name, points } of tracks) {
    yield `<trk><name>${text(name)}</name><trkseg>`;
    for (const { lat, lon, atMs } of points) yield `<trkpt lat="${lat}" lon="${lon}"><time>${iso(atMs)}</time></trkpt>`;
    yield '</trkseg></trk>';
  }
  yield `${remark}</gpx>`;
}

/** KML 2.2 with Google's track extension, which QGIS and ATAK read too. */
async function* kml(events: AsyncIterable<Recorded>, most: number): AsyncGenerator<string> {
  const { tracks, remark } = await tracksOf(events, most);
  yield '<?xml version="1.0" encoding="UTF-8"?>';
  yield '<kml xmlns="http://www.opengis.net/kml/2.2" xmlns:gx="http://www.google.com/kml/ext/2.2"><Document><name>Waystation</name>';
  for (const { name, points } of tracks) {
    yield `<Placemark><name>${text(name)}</name><gx:Track>`;
    for (const { atMs } of points) yield `<when>${iso(atMs)}</when>`;
    for (const { lat, lon } of points) yield `<gx:coord>${lon} ${lat} 0</gx:coord>`;
    yield '</gx:Track></Placemark>';
  }
  yield `${remark}</Document></kml>`;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** A value of an attribute is XML text already, but for quotes and broken ampersands. */
function text(value: string): string {
  return value
    .replace(/&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)/g, '&amp;')
    .replace(/[<>\p{Cc}]/gu, '_');
}
