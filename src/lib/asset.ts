// Files shipped with the relay: the page, schemas, notices. One path for each, whether we run from sources or from the
// single binary: scripts/build.mjs puts the bundle where this file stands and the assets where they stand in the checkout.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The checkout, or its likeness inside the binary. */
const ROOT = join(import.meta.dirname, '../..');

/**
 * A shipped file's bytes. `path` is relative to the checkout, e.g. 'src/api/page/index.html'. Shipped is every file under
 * src/ that is neither .ts nor .md. Read once and keep it: inside the binary only whole-file reads work.
 * @throws when there is no such file, or the path leads out of the checkout.
 */
export function readAsset(path: string): Buffer {
  return readFileSync(locate(path));
}

/** Paths of all assets under `folder`, relative to the checkout, sorted; ready for readAsset. */
export function listAssets(folder: string): readonly string[] {
  // No `recursive`, no `withFileTypes`: the binary's file system has neither.
  const paths = readdirSync(locate(folder)).map((name) => `${folder}/${name}`);
  return paths
    .flatMap((path) => (statSync(locate(path)).isDirectory() ? listAssets(path) : path))
    .filter(isAsset)
    .sort();
}

function isAsset(path: string): boolean {
  return !/\.(ts|md)$/.test(path);
}

function locate(path: string): string {
  if (path.startsWith('/') || path.split('/').includes('..')) throw new Error(`not the path of an asset: ${path}`);
  return join(ROOT, path);
}
