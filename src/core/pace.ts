// How thin a line is, as links are told: what it carries, and the largest piece that does not hold it for too long.
import type { Pace } from './session.ts';

/** No piece holds the line for longer than this, so that an alert never waits longer behind it. */
const LONGEST_HOLD_MS = 500;
/** Frame, TLS, TCP and IP around it: they hold the line, too. */
export const HEADS_BYTES = 100;
/** On the thinnest of lines nothing would be left. Pieces that go at once share their heads. */
const SMALLEST_RECORD = 48;
const LARGEST_RECORD = 65_536;

/** @param rateBps bits per second; undefined: nothing is known to limit it */
export function paceOf(rateBps: number | undefined): Pace {
  if (rateBps === undefined) return UNLIMITED;
  const held = (rateBps / 8) * (LONGEST_HOLD_MS / 1000) - HEADS_BYTES;
  return { rateBps, recordBytes: Math.round(Math.min(LARGEST_RECORD, Math.max(SMALLEST_RECORD, held))) };
}

const UNLIMITED: Pace = { rateBps: undefined, recordBytes: LARGEST_RECORD };
