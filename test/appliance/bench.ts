// A box on files in place of a card, and releases for it as image/build.sh makes them.
import { execFileSync } from 'node:child_process';
import { createPublicKey, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pack } from '../../src/appliance/pack.ts';
import { SECTOR_BYTES } from '../../src/appliance/slots.ts';
import type { UpdateSystem } from '../../src/appliance/update.ts';

export const SLOT_BYTES = 300_000;
export const sector = (slot: string) =>
  Buffer.from(`os_prefix=${slot}/\nkernel=kernel8.img\n[all]\n`.padEnd(SECTOR_BYTES, '\n'));

export interface Bench {
  readonly system: UpdateSystem;
  readonly folder: string;
  readonly card: string;
  readonly key: string;
  readonly said: string[];
  /** A release as image/build.sh makes it, signed. */
  release(change?: { board?: string; key?: string; rootBytes?: number }): Buffer;
}

export function bench(t: TestContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'update-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = (...names: string[]) => join(folder, ...names);
  const makeKey = (name: string) => {
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', path(name)], { stdio: 'ignore' });
    return path(name);
  };
  const key = makeKey('release.key');
  for (const slot of ['a', 'b']) {
    mkdirSync(path('card', slot), { recursive: true });
    mkdirSync(path('built', slot), { recursive: true });
    writeFileSync(path('card', slot, 'config.txt'), sector(slot));
    writeFileSync(path('built', slot, 'config.txt'), sector(slot));
    writeFileSync(path('built', slot, 'cmdline.txt'), `waystation.slot=${slot}`);
  }
  writeFileSync(path('card/config.txt'), sector('a'));
  writeFileSync(path('card/a/kernel8.img'), 'the old kernel');
  writeFileSync(path('card/b/left-over'), 'of a release long ago');
  writeFileSync(path('built/a/kernel8.img'), randomBytes(70_000));
  for (const number of [2, 3]) writeFileSync(path(`disk${number}`), Buffer.alloc(SLOT_BYTES, number));
  const said: string[] = [];
  const system: UpdateSystem = {
    boot: { slot: 'a', trial: undefined, partitions: path('disk') },
    board: 'board-1',
    slotBytes: SLOT_BYTES,
    version: '1.0.0',
    key: createPublicKey(readFileSync(key)),
    card: path('card'),
    records: path('records'),
    dropCaches: () => {},
    linked: async () => [{ name: 'hq', state: 'connected' }],
    now: () => '2026-11-29T00:00:00Z',
    say: (words) => said.push(words),
  };
  const release: Bench['release'] = ({ board = 'board-1', key: signer = key, rootBytes = 250_000 } = {}) => {
    writeFileSync(path('root.squashfs'), randomBytes(rootBytes));
    pack({
      root: path('root.squashfs'),
      boot: path('built'),
      version: '2.0.0',
      board,
      key: signer,
      out: path('out.update'),
    });
    return readFileSync(path('out.update'));
  };
  return { system, folder, card: path('card'), key, said, release };
}

export async function* inPieces(bytes: Buffer, size = 7919): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
