// What a relay says it can do, in the capabilities of its Hello.
import type { Provenance } from '../../core/message.ts';
import type { Hello } from '../../wire/portal-bodies.ts';
import { PACKS } from './packing.ts';

/** Capability: numbers its records and acknowledges ours. */
export const ACKNOWLEDGES = 'ack';
/** Capability: takes events in pieces beside a large record, and records that leave out their sender. */
export const BRIEF = 'cut1';

export interface Skills {
  readonly acknowledges: boolean;
  readonly unpacks: boolean;
  readonly brief: boolean;
  /** What it calls itself. */
  readonly node: Provenance;
}

export function skillsOf(hello: Hello): Skills {
  const { capabilities, nodeId: id, name } = hello;
  return {
    acknowledges: acknowledges(hello),
    unpacks: capabilities.includes(PACKS),
    brief: capabilities.includes(BRIEF),
    node: { id, name },
  };
}

export function acknowledges({ capabilities }: Hello): boolean {
  return capabilities.includes(ACKNOWLEDGES);
}
