// Logging: JSON lines by pino, pretty on a terminal. The one place that writes to the console.
// pino transports are never used: their worker cannot be found inside the single binary.
import pino from 'pino';
import pretty from 'pino-pretty';
import type { LogRing } from './log-ring.ts';

export type Log = pino.Logger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Private keys and secrets never reach a log line, whatever object is logged. */
const REDACT = ['key', 'password', 'secret', 'token', '*.key', '*.password', '*.secret', '*.token'];

export interface LogOptions {
  readonly level: LogLevel;
  readonly pretty: boolean;
  /** File descriptor to write to. */
  readonly fd?: number;
  /** Is given every line too. */
  readonly ring?: LogRing;
}

/** The process's logger. Always synchronous: the last words before a crash must come out. */
export function createLog(options: LogOptions): Log {
  const fd = options.fd ?? 2;
  const destination = options.pretty
    ? pretty({ sync: true, destination: fd, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l', singleLine: true })
    : pino.destination({ dest: fd, sync: true });
  const { ring } = options;
  const both = {
    write(line: string) {
      ring?.add(line);
      destination.write(line);
    },
  };
  const settings = { level: options.level, base: null, redact: { paths: REDACT, censor: '[redacted]' } };
  return pino(settings, ring ? both : destination);
}

export const silentLog: Log = pino({ level: 'silent' });

/** Writes a line for a person (or a pipe) to standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Writes a line for a person to standard error. */
export function printError(text: string): void {
  process.stderr.write(`${text}\n`);
}
