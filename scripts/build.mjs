// npm run build [-- x64 arm64]: makes dist/waystation-linux-<arch>, one file each, from npm packages alone.
// Steps: base Node binaries -> one CommonJS bundle -> a stage that mirrors the checkout -> pkg (enhanced SEA) -> self-check.
// Built twice from the same commit the files are the same, byte for byte (with the same strip tool).
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { notices } from './notices.mjs';

const ROOT = resolve(import.meta.dirname, '..');
const BUILD = join(ROOT, 'build');
const DIST = join(ROOT, 'dist');
/** pkg keeps its Node binaries under its HOME; prepared here, so that it never looks for them on the network. */
const HOME = join(BUILD, 'home');
/** The folder's name becomes part of every path inside the binary (/snapshot/waystation/...): keep it. */
const STAGE = join(BUILD, 'waystation');
/** The bundle stands where src/lib/asset.ts stands, so that `import.meta.dirname` means the same in both. */
const BUNDLE = 'src/lib/waystation.cjs';
const NODE = process.versions.node;
/** SHA-256 of bin/node as published, whichever way it came here: change them together with the version. */
const BASE_SHA256 = {
  '24.21.0': {
    x64: '7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c',
    arm64: '0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584',
  },
};
/** Tools that can strip a binary of that architecture, best first. GNU's own strip only knows the host's. */
const STRIP_TOOLS = {
  x64: process.arch === 'x64' ? ['strip', 'llvm-strip'] : ['x86_64-linux-gnu-strip', 'llvm-strip'],
  arm64: process.arch === 'arm64' ? ['strip', 'llvm-strip'] : ['aarch64-linux-gnu-strip', 'llvm-strip'],
};
/** Debian's libc6-arm64-cross and libstdc++6-arm64-cross live here; enough to run the arm64 binary under qemu. */
const ARM64_SYSROOT = '/usr/aarch64-linux-gnu';
const SELF_CHECK_MS = 120_000;

const packageJson = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const packageLock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
const startedMs = performance.now();
const say = (words) => console.log(`[${((performance.now() - startedMs) / 1000).toFixed(1).padStart(5)} s] ${words}`);
const sha256 = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');
const megabytes = (file) => `${(statSync(file).size / 1e6).toFixed(1)} MB`;

await main(process.argv.slice(2));

async function main(wanted) {
  const archs = wanted.length > 0 ? wanted : ['x64', 'arm64'];
  const unknown = archs.find((arch) => !(arch in STRIP_TOOLS));
  if (unknown) fail(`unknown architecture '${unknown}': this builds x64 and arm64`);
  const stamp = { version: packageJson.version, commit: commit(), node: NODE };
  say(`waystation ${stamp.version} (${stamp.commit}) on Node ${NODE} for ${archs.join(' and ')}`);
  const bases = archs.map(prepareBase);
  await bundle(stamp, dirname(dirname(bases[0])));
  mkdirSync(DIST, { recursive: true });
  const files = archs.map(makeBinary);
  for (const [index, arch] of archs.entries()) selfCheck(files[index], arch, stamp);
  writeFileSync(
    join(DIST, 'SHA256SUMS'),
    files.map((file) => `${sha256(file)}  ${file.slice(DIST.length + 1)}\n`).join(''),
  );
}

function fail(words) {
  console.error(`build: ${words}`);
  process.exit(1);
}

/** Short commit of the checkout, `-dirty` when files differ from it, 'unknown' outside a checkout. */
function commit() {
  const git = (...args) =>
    execFileSync('git', ['--no-optional-locks', ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') ? '-dirty' : '');
  } catch {
    return 'unknown';
  }
}

/** Puts the checked and stripped Node binary where pkg expects its download. Returns its path. */
function prepareBase(arch) {
  const name = `node-v${NODE}-linux-${arch}`;
  const cache = join(HOME, '.pkg-cache/sea');
  const base = join(cache, name, 'bin/node');
  const tool = STRIP_TOOLS[arch].find(isInstalled) ?? 'not stripped';
  const done = `${expectedSha256(arch)} ${tool}`;
  if (existsSync(`${base}.ok`) && readFileSync(`${base}.ok`, 'utf8') === done) return base;
  mkdirSync(dirname(base), { recursive: true });
  fetchBase(arch, join(cache, name));
  const got = sha256(base);
  if (got !== expectedSha256(arch))
    fail(`the ${arch} Node binary has SHA-256 ${got}, expected ${expectedSha256(arch)}`);
  if (tool === 'not stripped') {
    say(`base ${arch}: none of ${STRIP_TOOLS[arch].join(', ')} is installed; the binary will be about 20 MB larger`);
  } else {
    execFileSync(tool, ['--strip-unneeded', base]); // before injection: a stripped finished binary crashes
  }
  chmodSync(base, 0o755);
  // pkg takes the archive as downloaded, checked and unpacked when these exist, whatever they contain.
  for (const sentinel of [`${join(cache, name)}.tar.gz`, `${join(cache, name)}.tar.gz.ok`]) writeFileSync(sentinel, '');
  writeFileSync(`${base}.ok`, done);
  say(`base ${arch}: ${megabytes(base)} (${tool})`);
  return base;
}

function expectedSha256(arch) {
  return BASE_SHA256[NODE]?.[arch] ?? fail(`no SHA-256 is pinned in scripts/build.mjs for Node ${NODE} on ${arch}`);
}

function isInstalled(tool) {
  return spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** bin/node and LICENSE into `folder`: from node_modules where npm installed this arch, else packed and checked. */
function fetchBase(arch, folder) {
  const name = `node-linux-${arch}`;
  const installed = join(ROOT, 'node_modules', name);
  if (existsSync(join(installed, 'bin/node'))) {
    copyFileSync(join(installed, 'bin/node'), join(folder, 'bin/node'));
    copyFileSync(join(installed, 'LICENSE'), join(folder, 'LICENSE'));
    return;
  }
  const archive = packPackage(name);
  execFileSync('tar', ['xzf', archive, '-C', folder, '--strip-components=1', 'package/bin/node', 'package/LICENSE']);
}

/** npm installs only the host's Node; the other one is fetched by `npm pack` and held against package-lock.json. */
function packPackage(name) {
  const locked = packageLock.packages[`node_modules/${name}`];
  if (locked?.version !== NODE) fail(`package-lock.json has ${name} ${locked?.version}, but this is Node ${NODE}`);
  const folder = join(BUILD, 'tgz');
  mkdirSync(folder, { recursive: true });
  const args = ['pack', '--silent', '--prefer-offline', '--pack-destination', folder, `${name}@${NODE}`];
  const npm = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (npm.status !== 0)
    fail(
      `could not get ${name}@${NODE} from npm; offline, build this machine's own arch: npm run build -- ${process.arch}`,
    );
  const archive = join(folder, npm.stdout.trim().split('\n').at(-1));
  const [algorithm, wanted] = locked.integrity.split(/-(.*)/s);
  const got = createHash(algorithm).update(readFileSync(archive)).digest('base64');
  if (got !== wanted) fail(`${name}@${NODE} does not match its integrity in package-lock.json`);
  return archive;
}

/**
 * Other characters of our sources as escapes, for esbuild leaves them in tagged templates as they are. The source stays in
 * memory as long as the process runs, and one character beyond ASCII makes V8 hold all of it at two bytes each: 3 MB.
 */
function asciiSources({ onLoad }) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({
    contents: readFileSync(path, 'utf8').replace(/[\x80-\uffff]/g, escaped),
    loader: 'ts',
  }));
}

/** Bundle, assets, notices and a package.json without dependencies (pkg would embed all of node_modules for them). */
async function bundle(stamp, nodeFolder) {
  rmSync(STAGE, { recursive: true, force: true });
  const result = await build({
    absWorkingDir: ROOT,
    entryPoints: ['src/main.ts'],
    outfile: join(STAGE, BUNDLE),
    bundle: true,
    platform: 'node',
    format: 'cjs', // an ESM bundle cannot require() what CommonJS packages ask for
    target: 'node24',
    minifySyntax: true,
    minifyWhitespace: true, // names stay: stack traces are read by people
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none', // the notices carry them
    metafile: true,
    logLevel: 'warning',
    plugins: [{ name: 'ascii-sources', setup: asciiSources }],
    define: { __BUILD__: JSON.stringify(stamp), 'import.meta.dirname': '__dirname' },
  });
  if (/[^\0-\x7f]/.test(readFileSync(join(STAGE, BUNDLE), 'latin1'))) fail('the bundle is not ASCII: see asciiSources');
  mkdirSync(DIST, { recursive: true });
  cpSync(join(STAGE, `${BUNDLE}.map`), join(DIST, 'waystation.cjs.map'));
  rmSync(join(STAGE, `${BUNDLE}.map`));
  const assets = copyAssets();
  writeFileSync(join(STAGE, 'NOTICES.txt'), notices(ROOT, result.metafile, nodeFolder));
  cpSync(join(STAGE, 'NOTICES.txt'), join(DIST, 'NOTICES.txt'));
  const bin = { name: 'waystation', version: stamp.version, bin: BUNDLE };
  const pkg = { sea: true, assets: [...assets, 'NOTICES.txt'], scripts: [] };
  writeFileSync(join(STAGE, 'package.json'), JSON.stringify({ ...bin, pkg }, null, 1));
  say(`bundle: ${megabytes(join(STAGE, BUNDLE))} and ${assets.length} assets`);
}

/** Every file under src/ that is neither code nor documentation is shipped, at the same path as in the checkout. */
function copyAssets() {
  const isAsset = (file) => !/\.(ts|md)$/.test(file) && statSync(join(ROOT, file)).isFile();
  const assets = globSync('src/**/*', { cwd: ROOT }).filter(isAsset).sort();
  for (const file of assets) cpSync(join(ROOT, file), join(STAGE, file));
  return assets;
}

/** One binary. pkg finds its base in HOME; the proxy that is not there proves that it needs no network. */
function makeBinary(arch) {
  const file = join(DIST, `waystation-linux-${arch}`);
  const preload = join(import.meta.dirname, 'pkg-preload.cjs');
  const pkg = join(ROOT, 'node_modules/@yao-pkg/pkg/lib-es5/bin.js');
  const args = ['-r', preload, pkg, '.', '-t', `node${NODE}-linux-${arch}`, '-o', file];
  const env = { ...process.env, HOME, HTTP_PROXY: 'http://127.0.0.1:9', HTTPS_PROXY: 'http://127.0.0.1:9' };
  const { status, stdout } = spawnSync(process.execPath, args, {
    cwd: STAGE,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) fail(`pkg failed for ${arch}:\n${stdout}`);
  say(`${file.slice(ROOT.length + 1)}: ${megabytes(file)}, SHA-256 ${sha256(file)}`);
  return file;
}

/** Runs the finished binary: it must start, know its version and carry its notices. */
function selfCheck(file, arch, stamp) {
  const runner = runnerFor(arch);
  if (!runner.ok) return say(`self-check ${arch}: skipped, ${runner.why}`);
  const run = (...args) => {
    const [command, ...before] = [...runner.command, file];
    const env = { ...process.env, QEMU_CPU: 'cortex-a53' };
    const result = spawnSync(command, [...before, ...args], {
      env,
      encoding: 'utf8',
      maxBuffer: 1 << 24,
      timeout: SELF_CHECK_MS,
    });
    if (result.status !== 0)
      fail(`self-check ${arch}: '${args.join(' ')}' ended ${result.status ?? result.signal}\n${result.stderr}`);
    return result.stdout;
  };
  const version = run('version').trim();
  if (!version.includes(stamp.version) || !version.includes(stamp.commit))
    fail(`self-check ${arch}: 'version' printed ${version}`);
  if (!run('version', '--licenses').includes('Node.js is licensed'))
    fail(`self-check ${arch}: the notices are missing`);
  say(`self-check ${arch}: ${version}`);
}

/** How to run a binary of that architecture here. */
function runnerFor(arch) {
  if (arch === process.arch) return { ok: true, command: [] };
  if (arch !== 'arm64') return { ok: false, why: `this machine is ${process.arch}` };
  if (!isInstalled('qemu-aarch64-static'))
    return { ok: false, why: 'qemu-aarch64-static is not installed (qemu-user-static)' };
  if (!existsSync(join(ARM64_SYSROOT, 'lib/libstdc++.so.6'))) {
    return { ok: false, why: `no arm64 libraries in ${ARM64_SYSROOT} (libc6-arm64-cross, libstdc++6-arm64-cross)` };
  }
  return { ok: true, command: ['qemu-aarch64-static', '-L', ARM64_SYSROOT] };
}
