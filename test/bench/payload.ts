// The events that benchmarks send: positions of many units, all of one size, each carrying its number and the
// moment it was sent, so that receivers can tell how long it travelled.
import { encode } from '../support/peers/grpcjs/wire.ts';

/** Bytes of one event, in either form. A position from ATAK has 400 to 900. */
export const EVENT_BYTES = 500;
const STALE_MS = 10 * 60_000;
const MARK = '@@';
/** Digits of the microseconds behind the mark. */
const MARK_DIGITS = 16;

let units = 500;

/** How many units take turns in sending. */
export function setUnits(count: number): void {
  units = count;
}

/** A FederatedEvent as a TAK server sends it. */
export function fedEvent(sequence: number): Buffer {
  return padded((padding) => {
    const timeMs = Date.now();
    const event = {
      sendTime: timeMs,
      startTime: timeMs,
      staleTime: timeMs + STALE_MS,
      ...place(sequence),
      uid: uid(sequence),
      type: 'a-f-G-U-C',
      coordSource: 'm-g',
      other: detail(padding),
      battery: 87,
      ploc: 'GPS',
      palt: 'GPS',
      speed: 1.5,
      course: 270.25,
    };
    return encode('FederatedEvent', { event });
  });
}

/** The same as CoT XML, as a phone sends it. */
export function xmlEvent(sequence: number): Buffer {
  return padded((padding) => {
    const [time, stale] = [0, STALE_MS].map((laterMs) => new Date(Date.now() + laterMs).toISOString());
    const { lat, lon } = place(sequence);
    const point = `<point lat="${lat}" lon="${lon}" hae="200.0" ce="10.0" le="9999999.0"/>`;
    const head = `<event version="2.0" uid="${uid(sequence)}" type="a-f-G-U-C" time="${time}" start="${time}" stale="${stale}" how="m-g">`;
    return Buffer.from(`${head}${point}${detail(padding)}</event>`);
  });
}

/** When the event in these bytes was sent, in microseconds of `nowUs`; undefined: it is none of ours. */
export function sentUs(bytes: Buffer): number | undefined {
  const at = bytes.indexOf(MARK);
  return at < 0 ? undefined : Number(bytes.toString('latin1', at + MARK.length, at + MARK.length + MARK_DIGITS));
}

/** Microseconds on the clock that all processes of this machine share. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

function uid(sequence: number): string {
  return `ANDROID-bench${String(sequence % units).padStart(6, '0')}`;
}

function place(sequence: number) {
  return { lat: 48 + (sequence % 1000) / 1000, lon: 24 + (sequence % 777) / 1000, hae: 200, ce: 10, le: 9_999_999 };
}

/** What ATAK puts into a position, and the mark. */
function detail(padding: number): string {
  const mark = `${MARK}${String(nowUs()).padStart(MARK_DIGITS, '0')}`;
  return (
    `<detail><contact callsign="BENCH" endpoint="*:-1:stcp"/><__group name="Cyan" role="HQ"/>` +
    '<takv os="33" device="S23" platform="ATAK-CIV" version="5.1"/>' +
    `<track speed="1.5" course="270.2"/><remarks>${mark}${'x'.repeat(padding)}</remarks></detail>`
  );
}

/** Length of the padding depends on the padding itself only through length prefixes: two looks settle it. */
function padded(make: (padding: number) => Buffer): Buffer {
  const guess = EVENT_BYTES - make(0).length;
  const bytes = make(guess);
  return bytes.length === EVENT_BYTES ? bytes : make(guess + EVENT_BYTES - bytes.length);
}
