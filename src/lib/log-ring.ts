// The last lines of the log, in memory, for whoever asks without a terminal: numbered, bounded in lines and characters.

export interface LogLine {
  readonly id: number;
  /** One JSON object, as written. */
  readonly text: string;
}

export const RING_LINES = 1_000;
export const RING_CHARS = 512 * 1024;
const MAX_LINE = 4_096;

export class LogRing {
  #lines: LogLine[] = [];
  #chars = 0;
  #nextId = 1;

  add(line: string): void {
    const text = line.trimEnd().slice(0, MAX_LINE);
    this.#lines.push({ id: this.#nextId++, text });
    this.#chars += text.length;
    while (this.#lines.length > RING_LINES || this.#chars > RING_CHARS) this.#chars -= this.#lines.shift()!.text.length;
  }

  /** Lines after `id`, oldest first, and how many between were already forgotten. */
  since(id: number): { readonly missed: number; readonly lines: readonly LogLine[] } {
    const lines = this.#lines.filter((line) => line.id > id);
    return { missed: Math.max(0, this.#nextId - 1 - id - lines.length), lines };
  }
}
