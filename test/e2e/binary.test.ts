// The single binary starts, knows what it is and carries its notices: this machine's, and the arm64 one under qemu.
// `npm run build` makes them. A binary older than the sources is not tested: it would prove nothing about them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { build, versionLine } from '../../src/version.ts';
import { NO_MOSQUITTO } from '../support/mosquitto.ts';
import { journey } from './journey.ts';
import { sharedLoad } from './mqtt-journey.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Debian's libc6-arm64-cross and libstdc++6-arm64-cross. */
const ARM64_SYSROOT = '/usr/aarch64-linux-gnu';
const TIMEOUT_MS = 60_000;

/** How to run the binary of that architecture here, or why not. */
function runner(arch: string): { readonly command: readonly string[] } | { readonly why: string } {
  const file = join(ROOT, `dist/waystation-linux-${arch}`);
  if (!existsSync(file)) return { why: `dist/waystation-linux-${arch} is not built: npm run build` };
  if (isOlderThanSources(file))
    return { why: `dist/waystation-linux-${arch} is older than the sources: npm run build` };
  if (arch === process.arch) return { command: [file] };
  if (arch !== 'arm64') return { why: `this machine is ${process.arch}` };
  const qemu = 'qemu-aarch64-static';
  if (spawnSync(qemu, ['--version']).status !== 0) return { why: `${qemu} is not installed: scripts/setup-debian.sh` };
  if (!existsSync(join(ARM64_SYSROOT, 'lib/libstdc++.so.6'))) {
    return { why: `there are no arm64 libraries in ${ARM64_SYSROOT}: scripts/setup-debian.sh` };
  }
  return { command: [qemu, '-cpu', 'cortex-a53', '-L', ARM64_SYSROOT, file] };
}

function isOlderThanSources(file: string): boolean {
  const builtMs = statSync(file).mtimeMs;
  const sources = ['package-lock.json', ...globSync('src/**/*', { cwd: ROOT })];
  return sources.some((source) => statSync(join(ROOT, source)).mtimeMs > builtMs);
}

for (const arch of ['x64', 'arm64']) {
  const how = runner(arch);
  const skip = 'why' in how ? how.why : false;
  describe(`the ${arch} binary`, () => {
    /** Without a home, as under systemd. */
    const run = (...args: string[]) => {
      const [program, ...before] = 'command' in how ? how.command : [];
      const env = { PATH: process.env.PATH, PKG_NATIVE_CACHE_PATH: '/nonexistent' };
      return spawnSync(program!, [...before, ...args], {
        env,
        encoding: 'utf8',
        maxBuffer: 1 << 24,
        timeout: TIMEOUT_MS,
      });
    };

    test('version names version, commit, Node and architecture', { skip }, () => {
      const { status, stdout, stderr } = run('version');
      assert.equal(status, 0, stderr);
      const [first] = stdout.split('\n');
      for (const word of [build.version, process.versions.node, arch])
        assert.ok(first!.includes(word), `${word} in ${first}`);
      assert.doesNotMatch(stdout, /\(source\)/);
    });

    test('version --licenses prints the notices of what is inside', { skip }, () => {
      const { status, stdout, stderr } = run('version', '--licenses');
      assert.equal(status, 0, stderr);
      for (const part of ['Waystation', 'pino', 'zod', 'ws', '@yao-pkg/pkg', 'Node.js is licensed']) {
        assert.ok(stdout.includes(part), `the notices lack ${part}`);
      }
    });

    test('--help prints how to use it', { skip }, () => {
      const { status, stdout, stderr } = run('--help');
      assert.equal(status, 0, stderr);
      assert.match(stdout, /waystation/);
      assert.match(stdout, /run/);
    });

    test('phones, two relays and Federation v2', { skip }, (t) => journey(t, 'command' in how ? how.command : []));

    // Two relays more are too much for emulation; the package is the same JavaScript on both.
    const skipMqtt = skip || NO_MOSQUITTO || (arch !== process.arch && 'under emulation');
    test('MQTT from inside the binary', { skip: skipMqtt }, (t) => sharedLoad(t, 'command' in how ? how.command : []));

    test('an unknown command is refused with words', { skip }, () => {
      const { status, stderr } = run('nonsense');
      assert.notEqual(status, 0);
      assert.match(stderr, /nonsense/);
    });
  });
}

test('sources name the version of package.json and admit that they are sources', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.equal(versionLine(), `waystation ${version} (source) node ${process.versions.node} linux-${process.arch}`);
});
