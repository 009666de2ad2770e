// What a person may do to the card's boot partition, and what the box makes of it: imports, refusals in words, nothing left lying about.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ProvisionOptions, provision } from '../../src/appliance/provision.ts';
import { parseConfig } from '../../src/config/load.ts';
import { trustOf } from '../../src/relay.ts';

const GOOD = 'version: 1\nlinks:\n  - { name: phones, kind: cot, listen: 8087 }\n';
const FIRST = join(import.meta.dirname, '../../image/first.yaml');

interface Bench {
  readonly card: string;
  readonly data: string;
  readonly run: string;
  forgotten: number;
  put(name: string, content: string | Buffer): void;
  provision(change?: Partial<ProvisionOptions>): ReturnType<typeof provision>;
  config(): string;
  reply(file: string): string;
}

function bench(t: TestContext): Bench {
  const root = mkdtempSync(join(tmpdir(), 'card-'));
  t.after(() => rmSync(root, { recursive: true }));
  const [card, data, run] = [join(root, 'card'), join(root, 'data'), join(root, 'run')] as const;
  mkdirSync(card);
  mkdirSync(data);
  const self: Bench = {
    card,
    data,
    run,
    forgotten: 0,
    put: (name, content) => writeFileSync(join(card, name), content),
    provision: (change = {}) =>
      provision({
        card,
        data,
        run,
        etc: join(data, 'etc'),
        firstConfig: FIRST,
        tryOut: trustOf,
        now: '2026-11-29T00:00:00Z',
        forget: () => {
          self.forgotten += 1;
        },
        facts: { version: '1.2.3', data: 'good', setupCode: '2345-ABCD-EFGH', update: undefined },
        ...change,
      }),
    config: () => readFileSync(join(data, 'etc/waystation.yaml'), 'utf8'),
    reply: (file) => readFileSync(join(card, `${file}.error.txt`), 'utf8'),
  };
  return self;
}

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('an empty card: the box makes its name and Wi-Fi, begins with the first configuration, and says how to reach it', (t) => {
  const one = bench(t);
  const { box, imported, refused } = one.provision();
  assert.match(box.name, /^waystation-[0-9a-f]{4}$/);
  assert.deepEqual([imported, refused], [[], []]);
  assert.equal(one.config(), readFileSync(FIRST, 'utf8'));
  const setup = readFileSync(join(one.card, 'SETUP.txt'), 'utf8');
  for (const words of [box.name, box.wifiPassphrase, `${box.name}.local`, '1.2.3', '2345-ABCD-EFGH'])
    assert.ok(setup.includes(words), words);
  assert.ok(setup.includes('\r\n'), 'Notepad of old shows one line otherwise');
  assert.match(
    readFileSync(join(one.run, 'hostapd.conf'), 'utf8'),
    new RegExp(`^wpa_passphrase=${box.wifiPassphrase}$`, 'm'),
  );
  assert.ok(!existsSync(join(one.run, 'wpa_supplicant.conf')));
});

test('the configuration a card begins with is valid, and lets nobody in without a certificate', () => {
  const parsed = parseConfig(readFileSync(FIRST, 'utf8'), { path: FIRST });
  assert.ok('config' in parsed, JSON.stringify(parsed));
  for (const { kind, settings } of parsed.config.links)
    if (kind === 'cot') assert.ok((settings as { tls: unknown }).tls, 'plain TCP');
  assert.deepEqual(parsed.config.trust, { paths: [], pins: [] });
});

test('a second start is the same box, and writes nothing to the card', (t) => {
  const one = bench(t);
  const first = one.provision().box;
  const before = statSync(join(one.card, 'SETUP.txt')).mtimeMs;
  chmodSync(one.card, 0o500); // root does not care, the time does
  assert.deepEqual(one.provision().box, first);
  assert.equal(statSync(join(one.card, 'SETUP.txt')).mtimeMs, before);
  assert.notEqual(bench(t).provision().box.wifiPassphrase, first.wifiPassphrase);
});

for (const [name, encode] of [
  ['with the line ends of Windows', (text: string) => Buffer.from(text.replace(/\n/g, '\r\n'))],
  ['with a byte order mark', (text: string) => Buffer.from(`\ufeff${text}`)],
  ['as UTF-16 by Notepad', (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le')],
] as const) {
  test(`a configuration ${name} is taken over and removed from the card`, (t) => {
    const one = bench(t);
    one.put('waystation.yaml', encode(GOOD));
    assert.equal(one.provision().imported.length, 1);
    assert.equal(one.config(), GOOD);
    assert.ok(!existsSync(join(one.card, 'waystation.yaml')));
    assert.match(
      readFileSync(join(one.card, 'IMPORTED.txt'), 'utf8'),
      /waystation\.yaml: configuration, links: phones \(cot\)/,
    );
  });
}

for (const name of ['WAYSTATION.YAML', 'waystation.yml', 'waystation.yaml.txt', 'Waystation.Yaml.TXT']) {
  test(`${name} is understood as waystation.yaml`, (t) => {
    const one = bench(t);
    one.put(name, GOOD);
    one.provision();
    assert.equal(one.config(), GOOD);
  });
}

test('a broken configuration is explained beside it with line and fix; the one before stays in force', (t) => {
  const one = bench(t);
  one.put('waystation.yaml', GOOD);
  one.provision();
  one.put('waystation.yaml', 'version: 1\nlinks:\n  - { name: phones, kind: cto, listen: 8087 }\n');
  const { refused } = one.provision();
  assert.equal(refused.length, 1);
  assert.equal(one.config(), GOOD);
  assert.match(one.reply('waystation.yaml'), /3:\d+.*cto.*cot/s);
  assert.match(readFileSync(join(one.card, 'SETUP.txt'), 'utf8'), /What needs attention/);
  one.put('waystation.yaml', `${GOOD}# better\n`);
  one.provision();
  assert.ok(!existsSync(join(one.card, 'waystation.yaml.error.txt')), 'an answer that no longer holds goes');
  assert.match(one.config(), /better/);
});

test('text that is no text, and files that are no files, are refused or passed over', (t) => {
  const one = bench(t);
  one.put('waystation.yaml', Buffer.from([0xff, 0x00, 0xc3, 0x28]));
  mkdirSync(join(one.card, 'wifi.txt'));
  symlinkSync('/etc/shadow', join(one.card, 'shadow.pem'));
  assert.deepEqual(
    one.provision().refused.map(({ file }) => file),
    ['waystation.yaml'],
  );
  assert.match(one.reply('waystation.yaml'), /no text file/);
  assert.deepEqual(readdirSync(join(one.data, 'etc')), ['waystation.yaml']);
});

test('two files for one thing: neither is taken, both are named', (t) => {
  const one = bench(t);
  one.put('waystation.yaml', GOOD);
  one.put('waystation.yaml.txt', `${GOOD}# other\n`);
  one.put('waystation (1).yaml', GOOD);
  const { refused } = one.provision();
  assert.deepEqual(refused.map(({ file }) => file).sort(), [
    'waystation (1).yaml',
    'waystation.yaml',
    'waystation.yaml.txt',
  ]);
  assert.match(one.reply('waystation.yaml'), /more than one file.*waystation\.yaml, waystation\.yaml\.txt/);
  assert.match(one.reply('waystation (1).yaml'), /rename it/);
});

test('a file of 1 GB is not read', (t) => {
  const one = bench(t);
  one.put('waystation.yaml', '');
  truncateSync(join(one.card, 'waystation.yaml'), 2 ** 30);
  const before = process.memoryUsage().rss;
  one.provision();
  assert.match(one.reply('waystation.yaml'), /1024 MB/);
  assert.ok(process.memoryUsage().rss - before < 200e6);
});

test('names that are devices on Windows, or lead elsewhere, are no names', (t) => {
  const one = bench(t);
  const pem = execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519']);
  for (const name of ['con.pem', 'NUL.key', 'a b.pem', '..pem', `${'x'.repeat(70)}.pem`]) one.put(name, pem);
  one.provision();
  assert.deepEqual(readdirSync(join(one.data, 'etc')), ['waystation.yaml']);
});

test('thousands of files are not all looked at', (t) => {
  const one = bench(t);
  for (let index = 0; index < 600; index += 1) one.put(`photo-${index}.jpg`, '');
  assert.match(one.provision().refused[0]?.words ?? '', /more than 500/);
});

test('certificates and keys: PEM and DER in, damaged ones and locked keys refused, keys leave no trace on the card', (t) => {
  const one = bench(t);
  const folder = one.card;
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    'us.key',
    '-out',
    'us.pem',
    '-subj',
    '/CN=us',
  );
  openssl('x509', '-in', 'us.pem', '-outform', 'DER', '-out', 'hq.cer');
  openssl('genpkey', '-algorithm', 'ed25519', '-aes256', '-pass', 'pass:x', '-out', 'locked.key');
  const key = readFileSync(join(folder, 'us.key'), 'utf8');
  one.put('cut.pem', readFileSync(join(folder, 'us.pem')).subarray(0, 300));
  one.put('ca.pem.txt', readFileSync(join(folder, 'us.pem'), 'utf8').replace(/\n/g, '\r\n'));
  one.put('waystation.yaml', 'version: 1\ntrust: [hq.cer]\nlinks:\n  - { name: fed, kind: fed2, listen: 9001 }\n');
  const { refused, imported } = one.provision();
  assert.deepEqual(refused.map(({ file }) => file).sort(), ['cut.pem', 'locked.key']);
  assert.equal(imported.length, 5);
  assert.match(one.reply('locked.key'), /password/);
  assert.deepEqual(readdirSync(join(one.data, 'etc')).sort(), [
    'ca.pem',
    'hq.cer',
    'us.key',
    'us.pem',
    'waystation.yaml',
  ]);
  assert.equal(readFileSync(join(one.data, 'etc/us.key'), 'utf8'), key);
  assert.equal(mode(join(one.data, 'etc/us.key')), '600');
  assert.match(readFileSync(join(one.data, 'etc/hq.cer'), 'utf8'), /BEGIN CERTIFICATE/);
  assert.ok(!existsSync(join(folder, 'us.key')));
});

test('a configuration whose certificate is missing is refused in words', (t) => {
  const one = bench(t);
  one.put('waystation.yaml', 'version: 1\ntrust: [hq.pem]\nlinks:\n  - { name: fed, kind: fed2, listen: 9001 }\n');
  one.provision();
  assert.match(one.reply('waystation.yaml'), /hq\.pem/);
});

test('Wi-Fi, federation key and SSH key', (t) => {
  const one = bench(t);
  one.put('WiFi.txt', 'SSID = "Café Net"\r\npassword: correct horse\r\ncountry=de\r\n');
  one.put('federation-key.txt', `${'k'.repeat(32)}\r\n`);
  one.put('id_ed25519.pub', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@pc\r\n');
  const { imported } = one.provision();
  assert.equal(imported.length, 3);
  const wpa = readFileSync(join(one.run, 'wpa_supplicant.conf'), 'utf8');
  assert.match(wpa, new RegExp(`ssid=${Buffer.from('Café Net').toString('hex')}`));
  assert.match(wpa, /psk="correct horse"/);
  assert.match(readFileSync(join(one.run, 'hostapd.conf'), 'utf8'), /country_code=DE/);
  assert.equal(readFileSync(join(one.data, 'etc/portal.key'), 'utf8'), `${'k'.repeat(32)}\n`);
  assert.equal(
    readFileSync(join(one.data, 'ssh/authorized_keys'), 'utf8'),
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@pc\n',
  );
  for (const file of ['etc/portal.key', 'ssh/authorized_keys', 'network/wifi.json', 'box.json'])
    assert.equal(mode(join(one.data, file)), '600', file);
  assert.deepEqual(readdirSync(one.card).sort(), ['IMPORTED.txt', 'SETUP.txt']);
});

test('Wi-Fi that cannot be: everything wrong at once', (t) => {
  const one = bench(t);
  one.put('wifi.txt', 'wifi: yes\nssid=\npassword=short\ncountry=Germany\ncountry=DE\n');
  one.provision();
  const reply = one.reply('wifi.txt');
  for (const words of [/Line 1 /, /country is there twice/, /8 to 63/, /two letters/, /no line ssid=NAME/])
    assert.match(reply, words);
});

test('a private SSH key is refused with what to do', (t) => {
  const one = bench(t);
  one.put('ssh-key.txt', '-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n');
  one.provision();
  assert.match(one.reply('ssh-key.txt'), /never leave your computer/);
});

test('factory reset: ordered once, removed from the card, the box starts over', (t) => {
  const one = bench(t);
  one.put('factory-reset.txt', '');
  one.put('waystation.yaml', GOOD);
  assert.equal(one.provision().restart, true);
  assert.equal(one.forgotten, 1);
  assert.ok(!existsSync(join(one.card, 'factory-reset.txt')));
  assert.ok(existsSync(join(one.card, 'waystation.yaml')), 'for the box that comes after');
});

test('zeroize destroys every key before everything is forgotten', (t) => {
  const one = bench(t);
  one.put('portal.key', 'k'.repeat(32));
  one.provision();
  mkdirSync(join(one.data, 'waystation/identity'), { recursive: true });
  writeFileSync(join(one.data, 'waystation/identity/ca.key'), 'secret');
  one.put('zeroize', '');
  assert.equal(
    one.provision({ forget: () => assert.ok(!existsSync(join(one.data, 'waystation/identity/ca.key'))) }).restart,
    true,
  );
  assert.ok(!existsSync(join(one.data, 'etc/portal.key')));
});

test('no card at all, and a data partition that is broken: still a box that says what is wrong', (t) => {
  const one = bench(t);
  rmSync(one.card, { recursive: true });
  one.provision({ facts: { version: '1', data: 'ram', setupCode: undefined, update: undefined } });
  assert.match(readFileSync(join(one.run, 'SETUP.txt'), 'utf8'), /CANNOT BE USED.*factory-reset\.txt/s);
});
