// Peers as numbers, for the window of what was seen (seen.ts).
import { createHash } from 'node:crypto';
import type { PeerSpec } from './session.ts';

/** Numbers of peers are below twice this. */
const DURABLE = 2 ** 20;

/** A federate has the same number after a restart: an edit and a copy that comes again are told apart by who sent them. */
export function numberOf({ key, durable }: PeerSpec, count: number): number {
  if (!durable) return count % DURABLE;
  return DURABLE + (createHash('sha256').update(key).digest().readUInt32LE() % DURABLE);
}
