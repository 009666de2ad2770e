// What the box remembers of its last update: over restarts, between releases, on the data partition.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, replaceFile } from './files.ts';
import type { Linked } from './judge.ts';
import type { Slot } from './slots.ts';

/**
 * writing: the other slot is being written. trial: it is to be booted once. kept: it proved itself and stays.
 * returned: it did not, the old release runs. failed: it was never booted.
 */
export type UpdateState = 'writing' | 'trial' | 'kept' | 'returned' | 'failed';

export interface UpdateRecord {
  readonly state: UpdateState;
  /** ISO time of the last change. */
  readonly at: string;
  readonly from: Slot;
  readonly to: Slot;
  readonly fromVersion: string;
  readonly version: string;
  /** What worked before and has to work again. */
  readonly linked: readonly Linked[];
  /** Why it returned or failed. */
  readonly why?: string;
}

export function loadUpdate(folder: string): UpdateRecord | undefined {
  try {
    return JSON.parse(String(readIfThere(join(folder, 'update.json')))) as UpdateRecord;
  } catch {
    return undefined; // none yet
  }
}

export function saveUpdate(folder: string, record: UpdateRecord): void {
  mkdirSync(folder, { recursive: true });
  replaceFile(join(folder, 'update.json'), `${JSON.stringify(record)}\n`, 0o640);
}

/** At every start: an update that was cut short, and a trial that crashed, are told as what they came to. */
export function settleUpdate(folder: string, slot: Slot, onTrial: boolean, at: string): UpdateRecord | undefined {
  const record = loadUpdate(folder);
  if (!record || onTrial) return record;
  if (record.state === 'writing') {
    const why = 'the box was switched off while the release was being written';
    saveUpdate(folder, { ...record, state: 'failed', at, why });
  } else if (record.state === 'trial' && slot === record.from) {
    const why = record.why ?? 'the box was started again before the new release had proved itself';
    saveUpdate(folder, { ...record, state: 'returned', at, why });
  } else if (record.state === 'trial') {
    // config.txt was made to stay, and the power went before that was noted.
    saveUpdate(folder, { ...record, state: 'kept', at });
  }
  return loadUpdate(folder);
}

/** For SETUP.txt and the command line; undefined: nothing a person needs to know. */
export function updateWords(record: UpdateRecord | undefined): string | undefined {
  if (!record) return undefined;
  const { state, version, fromVersion, why } = record;
  switch (state) {
    case 'writing':
      return `Update to ${version}: it is being written.`;
    case 'trial':
      return `Update to ${version}: on trial. If it does not prove itself, ${fromVersion} returns.`;
    case 'kept':
      return `Updated from ${fromVersion} to ${version}.`;
    case 'returned':
      return `The update to ${version} did not prove itself, ${fromVersion} runs again: ${why}.`;
    case 'failed':
      return `The update to ${version} was not made, ${fromVersion} runs on: ${why}.`;
  }
}
