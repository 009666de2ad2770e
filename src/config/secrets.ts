// Secrets in a configuration: shown as there, never told; and found, so that they can be kept out of what is given away.
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Section } from './links-edit.ts';

/** Stands for a secret's value. */
export const HIDDEN = '[secret]';
const SECRET = /pass|secret|token|(^|_)key$/i;
/** Names a file that holds one. */
const SECRET_FILE = /(pass|secret|token|key).*_file$/i;
const MAX_FILE_BYTES = 4096;

/** Values of secret keys are not told, but that there is one. Files are named, not their content. */
export function masked(section: Section): Section {
  const mask = (key: string, value: unknown): unknown => {
    if (Array.isArray(value)) return value.map((one) => mask(key, one));
    if (typeof value === 'object' && value !== null) return masked(value as Section);
    return isText(value) && SECRET.test(key) ? HIDDEN : value;
  };
  return Object.fromEntries(Object.entries(section).map(([key, value]) => [key, mask(key, value)]));
}

/** Every secret that the configuration holds, or names a file of. Never throws. */
export function secretsIn(section: Section, baseDir: string): string[] {
  const look = (key: string, value: unknown): string[] => {
    if (Array.isArray(value)) return value.flatMap((one) => look(key, one));
    if (typeof value === 'object' && value !== null) return secretsIn(value as Section, baseDir);
    if (!isText(value)) return [];
    if (SECRET_FILE.test(key)) return content(resolve(baseDir, String(value)));
    return SECRET.test(key) ? [String(value)] : [];
  };
  return Object.entries(section).flatMap(([key, value]) => look(key, value));
}

function isText(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}

function content(path: string): string[] {
  try {
    return statSync(path).size > MAX_FILE_BYTES ? [] : [readFileSync(path, 'utf8').trim()];
  } catch {
    return []; // what cannot be read here cannot be told either
  }
}
