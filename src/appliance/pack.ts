// `waystation update pack`: makes a signed update of what image/build.sh built. Runs where releases are made, not on a box.
import { createHash, createPrivateKey } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type BundleFile, encodeHeader } from './bundle.ts';
import { writeAll } from './files.ts';
import { piecesOf } from './slots.ts';

export interface PackOptions {
  /** The root's file system. */
  readonly root: string;
  /** Holds a/ and b/ as they stand on the boot partition. */
  readonly boot: string;
  readonly version: string;
  readonly board: string;
  /** PEM, Ed25519. */
  readonly key: string;
  readonly out: string;
}

/** Same input, same bytes: Ed25519 signatures are deterministic. */
export function pack({ root, boot, version, board, key, out }: PackOptions): void {
  const perSlot = new Set(readdirSync(join(boot, 'b')));
  const parts = [
    ...readdirSync(join(boot, 'a'))
      .filter((name) => !perSlot.has(name))
      .map((name) => ({ name: `boot/${name}`, path: join(boot, 'a', name) })),
    ...[...perSlot].flatMap((name) =>
      (['a', 'b'] as const).map((slot) => ({
        name: `boot/${name.replace(/\.txt$/, `-${slot}.txt`)}`,
        path: join(boot, slot, name),
      })),
    ),
    { name: 'root', path: root },
  ];
  const files = parts.map(({ name, path }): BundleFile => ({ name, bytes: statSync(path).size, sha256: sha256(path) }));
  const handle = openSync(out, 'w');
  try {
    writeAll(handle, encodeHeader({ version, board, files }, createPrivateKey(readFileSync(key))));
    for (const { path } of parts) for (const piece of piecesOf(path, statSync(path).size)) writeAll(handle, piece);
  } finally {
    closeSync(handle);
  }
}

function sha256(path: string): string {
  const hash = createHash('sha256');
  for (const piece of piecesOf(path, statSync(path).size)) hash.update(piece);
  return hash.digest('hex');
}
