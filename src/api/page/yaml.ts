// One link as text to be edited by hand in the page, and back: secrets are not shown, and stay when they were not touched.
import { valueText } from '../../config/edit.ts';
import type { Section } from '../../config/links-edit.ts';
import { HIDDEN, masked } from '../../config/secrets.ts';

export function asYaml(entry: Section): string {
  return valueText(masked(entry));
}

/** The merge patch (RFC 7396) that makes `wanted` of `entry`; hidden secrets are no change. */
export function mergePatch(entry: Section, wanted: Section): Section {
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(entry)) if (!(key in wanted)) patch[key] = null;
  for (const [key, value] of Object.entries(wanted)) {
    if (value === HIDDEN) continue;
    const before = entry[key];
    if (isSection(value) && isSection(before)) {
      const inner = mergePatch(before, value);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (!same(before, value)) patch[key] = unhidden(before, value);
  }
  return patch;
}

/** Lists are replaced whole: what was hidden in them is what stood at the same place. */
function unhidden(before: unknown, value: unknown): unknown {
  if (value === HIDDEN) return before;
  if (Array.isArray(value)) {
    const old = Array.isArray(before) ? before : [];
    return value.map((one, at) => unhidden(counterpart(old, one, at), one));
  }
  if (!isSection(value)) return value;
  const old = isSection(before) ? before : {};
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unhidden(old[key], one)]));
}

/** Of a list's entries with names the one of the same name, else the one at the same place. */
function counterpart(old: readonly unknown[], one: unknown, at: number): unknown {
  const { name } = isSection(one) ? one : {};
  return name === undefined ? old[at] : old.find((each) => isSection(each) && each.name === name);
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
