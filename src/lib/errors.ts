// The two errors that carry words for a person. Everything else that is thrown is our bug.

/** The far end broke the protocol. Ends the session with `protocol_error`; `code` is the counter's label. */
export class ProtocolError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
  }
}

/** It will never work until a person changes something: bad key, bad configuration. `fix` says what to do. */
export class FatalError extends Error {
  readonly code: string;
  readonly fix: string;
  constructor(code: string, message: string, fix: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'FatalError';
    this.code = code;
    this.fix = fix;
  }
}

/** A failure worth retrying that a person may be able to end: refused, unreachable, not trusted. */
export class LinkError extends Error {
  readonly code: string;
  readonly fix: string;
  /** Least wait before the next try, in milliseconds (0: the supervisor's own back-off). */
  readonly retryAfterMs: number;
  constructor(code: string, message: string, fix: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, { cause: options.cause });
    this.name = 'LinkError';
    this.code = code;
    this.fix = fix;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}
