// What is running: version and commit are written into the single binary when it is built; sources know their version.
import { readAsset } from './lib/asset.ts';

export interface Build {
  readonly version: string;
  /** Short git commit, with `-dirty` when files differed from it; 'source' when run from sources. */
  readonly commit: string;
  /** Version of Node inside, without the v. */
  readonly node: string;
}

/** Set by scripts/build.mjs when it bundles. */
declare const __BUILD__: Build | undefined;

export const build: Build =
  typeof __BUILD__ === 'undefined'
    ? { version: packageVersion(), commit: 'source', node: process.versions.node }
    : __BUILD__;

/** One line for people: `waystation 0.1.0 (1a2b3c4) node 24.21.0 linux-arm64`. */
export function versionLine(): string {
  return `waystation ${build.version} (${build.commit}) node ${build.node} ${process.platform}-${process.arch}`;
}

/** Licences of everything inside the binary. Sources bundle nothing: there they are in node_modules/. */
export function notices(): string {
  if (build.commit === 'source')
    return 'Run from sources: every package keeps its licence in its folder under node_modules/.\n';
  return readAsset('NOTICES.txt').toString('utf8');
}

function packageVersion(): string {
  return (JSON.parse(readAsset('package.json').toString('utf8')) as { version: string }).version;
}
