// A request that is refused: thrown by whoever finds the reason, answered as a problem (RFC 9457) by the router.

export interface RefusalOptions {
  /** What to do about it. */
  readonly fix?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** More members of the problem: the list of what is wrong, the current etag. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly fix: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly more: Readonly<Record<string, unknown>>;

  constructor(status: number, code: string, words: string, { fix = '', headers = {}, more = {} }: RefusalOptions = {}) {
    super(words);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.fix = fix;
    this.headers = headers;
    this.more = more;
  }
}

/** The body of the answer. */
export function problemOf({ status, code, message, fix, more }: Refusal): Record<string, unknown> {
  const title = code.replaceAll('_', ' ');
  return { type: 'about:blank', title, status, code, detail: message, ...(fix ? { fix } : {}), ...more };
}
