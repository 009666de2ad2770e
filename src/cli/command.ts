// What a command line command is, and the exit codes they share.
import type { Defaults } from '../config/load.ts';

/** Exit codes, documented in README.md. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  badConfig: 3,
  notRunning: 4,
  /** Of `run` alone: it was asked to start anew (EX_TEMPFAIL). */
  restart: 75,
} as const;

/** What a command may use of the process it runs in. */
export interface CliContext {
  readonly version: string;
  readonly commit: string;
  /** WAYSTATION_CONFIG, WAYSTATION_DATA and WAYSTATION_TOKEN. */
  readonly env: {
    readonly config: string | undefined;
    readonly data: string | undefined;
    readonly token?: string | undefined;
  };
  readonly defaults: Defaults;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly stdoutIsTerminal: boolean;
  out(text: string): void;
  err(text: string): void;
  /** All of it; what is longer than `maxBytes` is read no further than that shows. */
  readStdin(maxBytes?: number): Promise<Buffer>;
}

export interface Command {
  readonly name: string;
  /** What follows the name, as `--help` prints it. */
  readonly usage: string;
  readonly summary: string;
  /** The rest of `--help`: options, one per line. */
  readonly help: string;
  /** Resolves to the exit code. May throw UsageError, FatalError, LinkError: the caller prints them. */
  run(args: readonly string[], context: CliContext): Promise<number>;
}

/** Called the wrong way: printed with the command's usage, exit code 2. */
export class UsageError extends Error {}

/** Where the running relay answers when its socket is not found. */
export const DEFAULT_API = 'http://127.0.0.1:8080';
