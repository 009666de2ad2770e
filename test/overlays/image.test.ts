// The flashed card's own files, as far as they can be checked without booting it: units systemd understands, scripts a shell can read,
// a config.txt that leaves room for the trial line, and nothing named in one place that is missing in another.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SECTOR_BYTES, trialSector } from '../../src/appliance/slots.ts';

const ROOT = join(import.meta.dirname, '../..');
const SYSTEM = 'overlays/image/etc/systemd/system';
const units = globSync(`${SYSTEM}/*.{service,path,timer,socket}`, { cwd: ROOT }).sort();
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

const installed = spawnSync('systemd-analyze', ['--version'], { stdio: 'ignore' }).status === 0;
const skip = installed ? false : 'systemd-analyze is not installed';

/** What systemd says about these units beside each other, their programs replaced by one that exists here. */
function verify(t: TestContext, edit: (text: string) => string = (text) => text): string {
  const folder = mkdtempSync(join(tmpdir(), 'units-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = units.map((file) => join(folder, basename(file)));
  for (const [index, file] of units.entries())
    writeFileSync(files[index]!, edit(read(file).replace(/^(Exec\w+=)(-?).*$/gm, '$1$2/bin/true')));
  const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], { encoding: 'utf8' });
  return stderr
    .split('\n')
    .filter((line) => line.includes(folder) || /ordering cycle/i.test(line))
    .join('\n');
}

test('systemd understands every line of every unit, and finds no cycle', { skip }, (t) => {
  assert.ok(units.length >= 10);
  assert.equal(verify(t), '');
  assert.notEqual(
    verify(t, (text) => text.replace('Type=oneshot', 'Type=sometimes')),
    '',
  );
});

test('every unit of ours is enabled by the build or started by another', () => {
  const build = read('image/build.sh');
  for (const file of units) {
    const name = basename(file);
    const bare = name.replace(/@?\.service$/, '');
    const partner = units.some((other) => other !== file && basename(other).replace(/\.\w+$/, '') === bare);
    assert.ok(build.includes(`${bare}:`) || partner, `nothing starts ${name}`);
  }
});

test('scripts are executable, and their shells can read them', () => {
  const scripts = [
    ...globSync('overlays/image/usr/lib/waystation/*', { cwd: ROOT }),
    ...globSync('image/**/*.sh', { cwd: ROOT }),
  ];
  for (const file of [...scripts, 'image/initramfs/init', 'scripts/deb.sh']) {
    assert.ok(statSync(join(ROOT, file)).mode & 0o100, `${file} is not executable`);
    const shell = /^#!.*\bbash/.test(read(file)) ? 'bash' : 'sh';
    const { status, stderr } = spawnSync(shell, ['-n', join(ROOT, file)], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
});

test('programs that units and code name are there', () => {
  const named = units.flatMap((file) =>
    [...read(file).matchAll(/\/usr\/lib\/waystation\/([\w-]+)/g)].map(([, name]) => name!),
  );
  for (const name of new Set(named)) assert.ok(existsSync(join(ROOT, 'overlays/image/usr/lib/waystation', name)), name);
});

test('config.txt leaves room for the trial line in its one sector', () => {
  const plain = Buffer.from(`os_prefix=a/\n${read('image/config.txt')}\n`.padEnd(SECTOR_BYTES, '\n'));
  assert.equal(plain.length, SECTOR_BYTES);
  assert.equal(trialSector(plain, 'b').length, SECTOR_BYTES);
});

test('no secret and no password is laid into the image', () => {
  for (const file of globSync('overlays/{base,image}/**/*', { cwd: ROOT }).filter((name) =>
    statSync(join(ROOT, name)).isFile(),
  ))
    assert.doesNotMatch(read(file), /passphrase=\S|psk=\S|password=\S|BEGIN [A-Z ]*PRIVATE KEY/i, file);
});

test('port 80 leads to the page of the box by the name it was asked by, and phones that try the internet to the box', () => {
  const ask = (...head: string[]) => {
    const input = `${['GET /generate_204 HTTP/1.1', ...head].join('\r\n')}\r\n\r\n`;
    const { stdout } = spawnSync('bash', [join(ROOT, 'overlays/image/usr/lib/waystation/captive')], {
      input,
      encoding: 'utf8',
    });
    assert.match(stdout, /^HTTP\/1\.1 302 Found\r\n/);
    return /^Location: (.*)\r$/m.exec(stdout)?.[1];
  };
  for (const host of ['192.0.2.7', '[2001:db8::7]', 'waystation-1a2b', 'waystation-1a2b.local']) {
    assert.equal(ask('Accept: */*', `host: ${host}`), `http://${host}:8080/`);
    assert.equal(ask(`HOST:\t${host}:80`), `http://${host}:8080/`);
  }
  const own = 'http://10.41.0.1:8080/';
  for (const host of [
    'captive.apple.com',
    'connectivitycheck.gstatic.com',
    '',
    '"><script>',
    'evil.example',
    'x:9',
    '$(id)',
  ])
    assert.equal(ask(`Host: ${host}`), own, host);
  assert.equal(ask(), own);
  assert.equal(ask(`Host: ${'a'.repeat(5_000)}`), own);
});

test('the boot partition is shared by those who use it at the same time, and let go by the last', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'card-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const stub = (name: string, body: string) =>
    writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  stub('mountpoint', `test -e ${folder}/mounted`);
  stub('mount', `touch ${folder}/mounted`);
  stub('umount', `rm ${folder}/mounted`);
  for (const name of ['fsck.fat', 'sync', 'flock']) stub(name, ':');
  writeFileSync(join(folder, 'partitions'), '/dev/none');
  const script = read('overlays/image/usr/lib/waystation/card').replace('/run/waystation-boot', folder);
  writeFileSync(join(folder, 'card'), script, { mode: 0o755 });
  const card = (what: string) => {
    const env = { PATH: `${folder}:${process.env.PATH}` };
    const { status, stderr } = spawnSync(join(folder, 'card'), [what], { encoding: 'utf8', env });
    assert.equal(status, 0, stderr);
    return existsSync(join(folder, 'mounted'));
  };
  assert.deepEqual(['mount', 'mount', 'unmount', 'unmount', 'unmount', 'mount', 'unmount'].map(card), [
    true,
    true,
    true,
    false,
    false,
    true,
    false,
  ]);
});

test('a GPS receiver sets the clock: gpsd reads it although no program asks for positions', () => {
  assert.match(read('overlays/image/etc/chrony/chrony.conf'), /^refclock SHM 0 refid GPS/m);
  assert.match(read('overlays/image/etc/default/gpsd'), /^GPSD_OPTIONS="-n"$/m);
  assert.match(read('overlays/image/etc/default/gpsd'), /^USBAUTO="true"$/m);
});
