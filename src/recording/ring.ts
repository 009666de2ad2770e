// The ring on disk: segments of gzip members, the oldest segment gone when all of it is too much. A member that a power cut left
// unfinished is read as far as it goes; each start begins a new segment, so that nothing stands behind it. Nothing is synced: what is recorded is worth less than the card it wears.
import { createReadStream, mkdirSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, createGunzip } from 'node:zlib';

/** The ring is made of so many segments, so that the oldest goes in small parts. */
const SEGMENTS = 16;
const LEAST_SEGMENT = 64 * 1024;
/** However often the relay starts. */
const MAX_SEGMENTS = 1_024;
/** Always left free on the disk. */
const LEAST_FREE = 64 * 1024 * 1024;

interface Segment {
  readonly path: string;
  readonly number: number;
  /** Wall clock of the first event in it, milliseconds. */
  readonly fromMs: number;
  bytes: number;
}

export class Ring {
  readonly #dir: string;
  /** The oldest first. */
  #segments: Segment[] = [];
  /** The segment that grows; undefined: none was begun since the start. */
  #last: Segment | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Finds what is there. @throws Error when the folder cannot be used */
  open(): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    const found = readdirSync(this.#dir).flatMap((name): Segment[] => {
      const match = /^(\d{8})-(\d{1,16})\.jsonl\.gz$/.exec(name);
      if (!match) return [];
      const path = join(this.#dir, name);
      return [{ path, number: Number(match[1]), fromMs: Number(match[2]), bytes: statSync(path).size }];
    });
    this.#segments = found.sort((a, b) => a.number - b.number);
  }

  get bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Wall clock of the oldest event, milliseconds; undefined: nothing is recorded. */
  get fromMs(): number | undefined {
    return this.#segments[0]?.fromMs;
  }

  /** Makes room, then adds one gzip member, whose first event is of that time. Rejects when it cannot be written. */
  async append(member: Buffer, fromMs: number, limit: number): Promise<void> {
    this.trim(Math.max(0, limit - member.length));
    const { bavail, bsize } = statfsSync(this.#dir);
    if (bavail * bsize - member.length < LEAST_FREE) throw new Error('less than 64 MiB is free on its disk');
    const segment = this.#segmentFor(member.length, fromMs, limit);
    await appendFile(segment.path, member, { mode: 0o600 });
    segment.bytes += member.length;
  }

  #segmentFor(length: number, fromMs: number, limit: number): Segment {
    const last = this.#last;
    if (last && last.bytes + length <= Math.max(LEAST_SEGMENT, limit / SEGMENTS)) return last;
    const number = (this.#segments.at(-1)?.number ?? 0) + 1;
    const name = `${String(number).padStart(8, '0')}-${fromMs}.jsonl.gz`;
    const segment = { path: join(this.#dir, name), number, fromMs, bytes: 0 };
    this.#segments.push(segment);
    this.#last = segment;
    return segment;
  }

  /** Takes away the oldest until no more than `most` bytes are left. */
  trim(most: number): void {
    while (this.#segments.length > 0 && (this.bytes > most || this.#segments.length > MAX_SEGMENTS)) {
      const oldest = this.#segments.shift()!;
      if (oldest === this.#last) this.#last = undefined;
      rmSync(oldest.path, { force: true });
    }
  }

  /** The text of all segments that may hold something of this time, in pieces. What is damaged is left out. */
  async *read(sinceMs: number, untilMs: number): AsyncGenerator<string> {
    const segments = [...this.#segments];
    for (const [index, { path, fromMs }] of segments.entries()) {
      const next = segments[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
      if (fromMs > untilMs || next < sinceMs) continue;
      yield* unpacked(path);
      yield '\n'; // a line that was cut off ends here
    }
  }
}

async function* unpacked(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const file = createReadStream(path);
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH }); // an end that is missing is no error
  file.on('error', (error) => gunzip.destroy(error));
  file.pipe(gunzip);
  try {
    for await (const chunk of gunzip) yield decoder.decode(chunk as Buffer, { stream: true });
  } catch {
    // Damaged, or taken away meanwhile to make room: what came before it stands.
  } finally {
    file.destroy();
  }
}
