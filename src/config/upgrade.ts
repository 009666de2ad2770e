// Old files keep working: numbered steps bring a document of any past version to the present one, comments and all.
// To change the format: add a step, raise CONFIG_VERSION, keep a file of the old version in test/fixtures/config.
import type { Document } from 'yaml';

/** Version written by this release. A file that names none is of version 1. */
export const CONFIG_VERSION = 1;

/** Brings a document of version `from` to version `from + 1`, in place. */
export interface UpgradeStep {
  readonly from: number;
  apply(doc: Document): void;
}

export const UPGRADE_STEPS: readonly UpgradeStep[] = [];

/**
 * Upgrades `doc` in place to `target`.
 * @returns the version it had, or words about a version that cannot be read.
 */
export function upgrade(
  doc: Document,
  steps: readonly UpgradeStep[] = UPGRADE_STEPS,
  target: number = CONFIG_VERSION,
): { readonly from: number } | { readonly words: string } {
  const from = doc.has('version') ? doc.get('version') : 1;
  if (typeof from !== 'number' || !Number.isSafeInteger(from) || from < 1) {
    return { words: `expected ${target}, the version of this file’s format` };
  }
  if (from > target) {
    return { words: `this file is of version ${from}, made for a newer Waystation; this one reads up to ${target}` };
  }
  for (let version = from; version < target; version++) {
    const step = steps.find((candidate) => candidate.from === version);
    if (!step) throw new Error(`no upgrade step from version ${version}`);
    step.apply(doc);
  }
  if (from < target) doc.set('version', target);
  return { from };
}
