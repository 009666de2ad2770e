// A terminal taken over for a while: another screen, keys one by one. Given back as it was, whatever ends the program that has it.
import type { ReadStream, WriteStream } from 'node:tty';

export interface Terminal {
  readonly columns: number;
  readonly rows: number;
  /** Shows these lines from the top; what was there is gone. */
  draw(lines: readonly string[]): void;
  /** Gives it back. Idempotent. */
  close(): void;
}

export interface TerminalEvents {
  /** `q`, `up`, `down`, `pageup`, `pagedown`, `home`, or the character itself. */
  onKey(key: string): void;
  onResize(): void;
}

/** Wide characters take two places: what would not fit is cut off at the edge, not wrapped. */
const ENTER = '\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[2J';
const LEAVE = '\x1b[?25h\x1b[?7h\x1b[?1049l';
/** A terminal that does not say how large it is. */
const USUAL = { columns: 80, rows: 24 };
const KEYS: Readonly<Record<string, string>> = {
  '\x1b[A': 'up',
  '\x1bOA': 'up',
  '\x1b[B': 'down',
  '\x1bOB': 'down',
  '\x1b[5~': 'pageup',
  '\x1b[6~': 'pagedown',
  '\x1b[H': 'home',
  '\x03': 'q',
  '\x04': 'q',
  Q: 'q',
};

/** Undefined: this is none. */
export function openTerminal(
  input: ReadStream,
  output: WriteStream,
  { onKey, onResize }: TerminalEvents,
): Terminal | undefined {
  if (!input.isTTY || !output.isTTY) return undefined;
  let isOpen = true;
  const hear = (chunk: Buffer) => {
    // Keys that are held down come several at a time.
    for (const [key] of chunk.toString('latin1').matchAll(/\x1b(?:\[[0-9;]*[~A-Za-z]|O[A-Z])|[\s\S]/g))
      onKey(KEYS[key] ?? key);
  };
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    process.off('exit', close);
    output.off('resize', onResize);
    input.off('data', hear).setRawMode(false).pause();
    output.write(LEAVE);
  };
  process.once('exit', close);
  input.setRawMode(true).on('data', hear).resume();
  output.on('resize', onResize);
  output.write(ENTER);
  return {
    get columns() {
      return output.columns || USUAL.columns;
    },
    get rows() {
      return output.rows || USUAL.rows;
    },
    draw(lines) {
      // A slow line must not be filled with screens nobody will see.
      if (!isOpen || output.writableLength > 0) return;
      output.write(`\x1b[H${lines.map((line) => `${line}\x1b[0m\x1b[K`).join('\r\n')}\x1b[J`);
    },
    close,
  };
}
