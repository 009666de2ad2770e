// The path of a request that came from outside: taken apart, or refused whole. What passes holds nothing that one program
// reads as a name and the next as a way out of a folder, so it may be handed on as it is.

/** Longest path with its query, characters. */
export const MAX_TARGET = 2048;

export interface Target {
  /** As it came, without the query. Begins with `/`. */
  readonly path: string;
  /** As it came, with its `?`; '' when there is none. */
  readonly query: string;
  /** The names between the slashes, decoded; a slash at the end adds none. */
  readonly segments: readonly string[];
}

/** What to tell whoever sent a path that is none. */
export const TARGET_WORDS = `a path begins with one slash, has unusual characters escaped as %20, holds no "..", "//", encoded slash or control character, and at most ${MAX_TARGET} characters`;

/** RFC 3986 path characters, and complete percent escapes. */
const PATH = /^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/;
/** Visible characters but `#`. */
const QUERY = /^[\x21\x22\x24-\x7e]*$/;
/** Dots that climb, also with the parameters some servers cut off; what would be decoded a second time; controls. */
const NOT_A_NAME = /^\.{1,2}(;|$)|[/\\\p{Cc}]|%[0-9a-f]{2}/iu;

/** Undefined: refused. */
export function parseTarget(raw: string): Target | undefined {
  if (raw.length > MAX_TARGET) return undefined;
  const cut = raw.indexOf('?');
  const path = cut < 0 ? raw : raw.slice(0, cut);
  const query = cut < 0 ? '' : raw.slice(cut);
  if (!PATH.test(path) || !QUERY.test(query)) return undefined;
  const names = path.slice(1).split('/');
  if (names.at(-1) === '') names.pop();
  const segments = names.map(decoded);
  return segments.every((name) => name !== undefined && name !== '' && !NOT_A_NAME.test(name))
    ? { path, query, segments: segments as string[] }
    : undefined;
}

function decoded(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined; // not UTF-8
  }
}
