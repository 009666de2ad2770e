// What a group of units says in an hour: positions as ATAK's dynamic strategy reports them, chat, and now and then a call for
// help. Seeded: the same options give the same events.
import { type CotEvent, NO_DETAIL, type Track } from '../core/message.ts';
import { Dice } from './dice.ts';

/** One event on its way to the relay. */
export interface Offered {
  /** Milliseconds since the beginning. */
  readonly atMs: number;
  readonly event: CotEvent;
  /** What it weighs on the line. */
  readonly bytes: number;
  readonly track?: Track | undefined;
}

export interface LoadOptions {
  readonly units: number;
  readonly durationMs: number;
  readonly seed: number;
  /** Bytes of an event on the line. */
  readonly bytes: number;
  /** A message to everybody so often. */
  readonly chatEveryMs: number;
  /** A call for help so often. */
  readonly alertEveryMs: number;
}

export const LOAD_DEFAULTS: LoadOptions = {
  units: 50,
  durationMs: 3_600_000,
  seed: 1,
  bytes: 430,
  chatEveryMs: 45_000,
  alertEveryMs: 300_000,
};

export const WALL_START_MS = Date.UTC(2026, 0, 1);

/**
 * How units move: up to which part of all, metres per second, seconds between reports. Standing units report every 30 s to a mesh; moving ones
 * the faster the oftener, down to every 2 s. Together 50 of them offer about 31 kbit/s of events of 430 bytes.
 */
const MIX = [
  { upTo: 0.2, speed: [0, 0], everyS: 30 },
  { upTo: 0.6, speed: [0.8, 1.8], everyS: 10 },
  { upTo: 1, speed: [5, 25], everyS: 3 },
] as const;

/** Stale time that ATAK gives a report, by its interval. */
const staleAfterMs = (everyMs: number) => 4 * everyMs + 15_000;

/** Metres by which GPS is off. */
const GPS_METRES = 2;
/** Radians a unit may turn between two reports. */
const TURN = 0.4;
const METRES_PER_DEGREE = 111_195;

interface Unit {
  readonly uid: string;
  readonly speed: number;
  readonly everyMs: number;
  heading: number;
  north: number;
  east: number;
  nextMs: number;
}

/** The events in the order in which they come. */
export function* makeLoad(options: LoadOptions): Generator<Offered, undefined> {
  const dice = new Dice(options.seed);
  const units = Array.from({ length: options.units }, (_, n) => newUnit(n, options.units, dice));
  let chatMs = options.chatEveryMs / 2;
  let alertMs = options.alertEveryMs / 2;
  let serial = 0;
  for (;;) {
    const unit = units.reduce((first, other) => (other.nextMs < first.nextMs ? other : first));
    const atMs = Math.min(unit.nextMs, chatMs, alertMs);
    if (atMs >= options.durationMs) return undefined;
    let event: CotEvent;
    let track: Track | undefined;
    if (atMs === alertMs) {
      event = message(`alert-${++serial}`, 'b-a-o-tbl', atMs);
      alertMs += options.alertEveryMs;
    } else if (atMs === chatMs) {
      event = message(`chat-${++serial}`, 'b-t-f', atMs);
      chatMs += options.chatEveryMs;
    } else {
      track = { course: (unit.heading * 180) / Math.PI, speed: unit.speed };
      event = report(unit, atMs, dice);
    }
    yield { atMs, event, bytes: options.bytes, track };
  }
}

function newUnit(n: number, of: number, dice: Dice): Unit {
  const { speed, everyS } = MIX.find(({ upTo }) => n / of < upTo) ?? MIX[2];
  const everyMs = everyS * 1000;
  return {
    uid: `unit-${n + 1}`,
    speed: dice.between(speed[0], speed[1]),
    everyMs,
    heading: dice.between(0, 2 * Math.PI),
    north: dice.between(-5000, 5000),
    east: dice.between(-5000, 5000),
    nextMs: dice.between(0, everyMs),
  };
}

/** Where it is now; and moves on to where it will be when it reports next. */
function report(unit: Unit, atMs: number, dice: Dice): CotEvent {
  const north = unit.north + dice.between(-GPS_METRES, GPS_METRES);
  const east = unit.east + dice.between(-GPS_METRES, GPS_METRES);
  const waitMs = unit.everyMs * dice.between(0.8, 1.2);
  const metres = (unit.speed * waitMs) / 1000;
  unit.heading += dice.between(-TURN, TURN);
  unit.north += metres * Math.cos(unit.heading);
  unit.east += metres * Math.sin(unit.heading);
  unit.nextMs = atMs + waitMs;
  return { ...event(unit.uid, 'a-f-G-U-C', atMs, staleAfterMs(unit.everyMs)), how: 'm-g', ...place(north, east) };
}

const message = (uid: string, type: string, atMs: number) => event(uid, type, atMs, 86_400_000);

function event(uid: string, type: string, atMs: number, lifeMs: number): CotEvent {
  const timeMs = WALL_START_MS + Math.round(atMs);
  const times = { timeMs, startMs: timeMs, staleMs: timeMs + lifeMs };
  return { ...NO_DETAIL, uid, type, how: 'h-g-i-g-o', ...times, ...place(0, 0), hae: 0, ce: 10, le: 10 };
}

function place(north: number, east: number): { lat: number; lon: number } {
  return { lat: 48 + north / METRES_PER_DEGREE, lon: 24 + east / (METRES_PER_DEGREE * 0.669) };
}
