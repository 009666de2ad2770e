// Takes secrets out of text that is given away: those we know, and what looks like one whoever wrote it.
import { HIDDEN } from '../config/secrets.ts';

/** Shorter ones are words that stand everywhere, and would give themselves away by their absence. */
const MIN_KNOWN = 6;

const LOOKS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, HIDDEN],
  // Our own: a token, a session, a setup code.
  [/\bws[st]_[A-Za-z0-9_-]{16,}/g, HIDDEN],
  [/\b[2-9A-HJ-KMNP-TV-Z]{4}-[2-9A-HJ-KMNP-TV-Z]{4}-[2-9A-HJ-KMNP-TV-Z]{4}\b/g, HIDDEN],
  [/\b(Bearer|Basic) [A-Za-z0-9._~+/=-]{6,}/gi, `$1 ${HIDDEN}`],
  [/([a-z][a-z0-9+.-]*:\/\/[^\s/:@"']*:)[^\s/@"']+@/gi, `$1${HIDDEN}@`],
  [
    /("[\w-]*(?:pass(?:word|phrase)?|secret|token|federation_key|private_key)"\s*:\s*")(?:[^"\\]|\\.)*"/gi,
    `$1${HIDDEN}"`,
  ],
];

export function scrubber(known: readonly string[]): (text: string) => string {
  // As they are, and as JSON writes them; the longest first, since one may be part of another.
  const forms = known.filter((secret) => secret.length >= MIN_KNOWN).flatMap((secret) => [secret, inJson(secret)]);
  const secrets = [...new Set(forms)].sort((a, b) => b.length - a.length);
  return (text) => {
    const clean = secrets.reduce((left, secret) => left.replaceAll(secret, HIDDEN), text);
    return LOOKS.reduce((left, [pattern, instead]) => left.replace(pattern, instead), clean);
  };
}

function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
