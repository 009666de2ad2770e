// Checks, made shortly.
import type { Check, Finding } from '../core/diagnosis.ts';

/** Words come from outside, too. */
const MAX_WORDS = 600;

function check(finding: Finding): (id: string, of: string, words: string, fix?: string) => Check {
  return (id, of, words, fix = '') => ({
    id,
    of: of.slice(0, 128),
    finding,
    words: words.slice(0, MAX_WORDS),
    fix: fix.slice(0, MAX_WORDS),
  });
}

export const ok = check('ok');
export const warn = check('warn');
export const bad = check('bad');
export const unknown = check('unknown');

/** A time span for a person. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function megabytes(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
