// Earlier configurations, one file each: what was replaced, when, and by whom. The oldest go first.
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export const MAX_VERSIONS = 50;
/** Of all of them together. */
export const MAX_HISTORY_BYTES = 8 * 1024 * 1024;
/** `0007-20261129T010203Z-local.yaml` */
const NAME = /^(\d{4,8})-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-([a-z0-9_-]{1,32})\.yaml$/;

export interface Version {
  /** What `undo` takes. */
  readonly id: string;
  /** ISO-8601 UTC: when something else took its place. */
  readonly replacedAt: string;
  readonly replacedBy: string;
  readonly bytes: number;
}

export class History {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Newest first. */
  async list(): Promise<readonly Version[]> {
    const names = await readdir(this.#dir).catch(() => [] as string[]);
    const found = await Promise.all(names.map((name) => this.#look(name)));
    return found.filter((one) => one !== undefined).sort((a, b) => Number(b.id) - Number(a.id));
  }

  /** Undefined: there is no such version. */
  async read(id: string): Promise<string | undefined> {
    const name = (await readdir(this.#dir).catch(() => [] as string[])).find((one) => NAME.exec(one)?.[1] === id);
    return name === undefined ? undefined : readFile(join(this.#dir, name), 'utf8');
  }

  /** Keeps a text that is about to be replaced. Resolves to its id. */
  async keep(text: string, who: string, wallMs: number): Promise<string> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const kept = await this.list();
    const id = String(Number(kept[0]?.id ?? 0) + 1).padStart(4, '0');
    const stamp = new Date(wallMs).toISOString().replace(/[-:]|\.\d+/g, '');
    const by =
      who
        .toLowerCase()
        .replace(/[^a-z0-9_-]+/g, '-')
        .slice(0, 32) || 'somebody';
    await writeFile(join(this.#dir, `${id}-${stamp}-${by}.yaml`), text, { mode: 0o600, flush: true });
    await this.#prune();
    return id;
  }

  async forget(id: string): Promise<void> {
    const name = (await readdir(this.#dir).catch(() => [] as string[])).find((one) => NAME.exec(one)?.[1] === id);
    if (name !== undefined) await rm(join(this.#dir, name), { force: true });
  }

  async #look(name: string): Promise<Version | undefined> {
    const match = NAME.exec(name);
    if (!match) return undefined;
    const [, id, year, month, day, hour, minute, second, by] = match as unknown as string[];
    const file = await stat(join(this.#dir, name)).catch(() => undefined);
    if (!file?.isFile()) return undefined;
    const replacedAt = `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
    return { id: id!, replacedAt, replacedBy: by!, bytes: file.size };
  }

  async #prune(): Promise<void> {
    let bytes = 0;
    for (const [index, version] of (await this.list()).entries()) {
      bytes += version.bytes;
      if (index > 0 && (index >= MAX_VERSIONS || bytes > MAX_HISTORY_BYTES)) await this.forget(version.id);
    }
  }
}
