// Connection packages, read by programs that did not write them: openssl as Android's old provider would, unzip, Python's zip and XML.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makePackage, type PackageOrder, profilePackage, type Variant } from '../../src/onboarding/packages.ts';
import { presets, slug } from '../../src/onboarding/presets.ts';
import { makeCa, makeLeaf } from '../support/pki.ts';

const ca = makeCa({ cn: 'vehicle-3 CA', key: 'rsa' });
const leaf = makeLeaf(ca, { cn: 'Alpha', eku: ['client'], key: 'rsa' });
const NASTY = `Ä&"<x key='1'>]]>`;

function orderOf(variant: Variant, more: Partial<PackageOrder> = {}): PackageOrder {
  return {
    variant,
    station: { name: 'vehicle 3', caPem: ca.certPem, caFingerprint: ca.fingerprint, host: '10.41.0.1', port: 8089 },
    phone: 'Alpha 1',
    presets: { callsign: NASTY, team: 'Dark Green', role: 'Team Lead' },
    client: variant === 'plain' || variant === 'enroll' ? undefined : leaf,
    ...more,
  };
}

/** The package unpacked by unzip, which refuses what leaves its folder. */
async function unpacked(
  t: TestContext,
  order: PackageOrder,
): Promise<{ folder: string; names: string[]; zip: string }> {
  const { bytes, fileName } = await makePackage(order);
  const base = mkdtempSync(join(tmpdir(), 'ws-package-'));
  t.after(() => rmSync(base, { recursive: true }));
  const zip = join(base, fileName);
  writeFileSync(zip, bytes);
  return { ...unzip(zip, join(base, 'out')), zip };
}

function unzip(zip: string, folder: string): { folder: string; names: string[] } {
  execFileSync('unzip', ['-tqq', zip]);
  mkdirSync(folder);
  execFileSync('unzip', ['-qq', zip, '-d', folder]);
  const script =
    'import sys,zipfile,json;z=zipfile.ZipFile(sys.argv[1]);assert z.testzip() is None;print(json.dumps(z.namelist()))';
  return { folder, names: JSON.parse(execFileSync('python3', ['-c', script, zip], { encoding: 'utf8' })) as string[] };
}

/** Sections and entries, by Python's XML reader. */
function prefOf(path: string): Record<string, Record<string, [string, string]>> {
  const script = `import sys,json,xml.etree.ElementTree as e
r=e.parse(sys.argv[1]).getroot();assert r.tag=='preferences'
print(json.dumps({p.get('name'):{k.get('key'):[k.get('class'),k.text] for k in p.findall('entry')} for p in r.findall('preference')}))`;
  return JSON.parse(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' })) as ReturnType<typeof prefOf>;
}

function manifestOf(path: string): string[] {
  const script = `import sys,json,xml.etree.ElementTree as e
r=e.parse(sys.argv[1]).getroot();assert (r.tag,r.get('version'))==('MissionPackageManifest','2')
p={x.get('name'):x.get('value') for x in r.find('Configuration')};assert p['uid'] and p['name'] and p['onReceiveDelete']=='true'
print(json.dumps([c.get('zipEntry') for c in r.find('Contents')]))`;
  return JSON.parse(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' })) as string[];
}

function pkcs12(path: string, password: string, ...more: string[]): string {
  const args = ['pkcs12', '-legacy', '-in', path, '-passin', `pass:${password}`, '-nodes', ...more];
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What openssl says about how it is locked. */
function locksOf(path: string, password: string): string {
  const script = 'openssl pkcs12 -legacy -info -noout -in "$1" -passin "pass:$2" 2>&1';
  return execFileSync('sh', ['-c', script, 'sh', path, password], { encoding: 'utf8' });
}

test('ATAK: manifest, preferences with an index, relative places, two P12 files of old make', async (t) => {
  const { folder, names } = await unpacked(t, orderOf('atak'));
  const base = `vehicle-3-${ca.fingerprint.slice(0, 6)}`;
  assert.deepEqual(names, [
    'MANIFEST/manifest.xml',
    `certs/${base}.pref`,
    `certs/${base}-ca.p12`,
    `certs/${base}-alpha-1.p12`,
  ]);
  assert.deepEqual(manifestOf(join(folder, 'MANIFEST/manifest.xml')), names.slice(1));
  const pref = prefOf(join(folder, `certs/${base}.pref`));
  const streams = pref.cot_streams!;
  assert.deepEqual(Object.keys(streams), [
    'count',
    'description0',
    'enabled0',
    'connectString0',
    'caLocation0',
    'caPassword0',
    'certificateLocation0',
    'clientPassword0',
    'useAuth0',
  ]);
  assert.deepEqual(streams.count, ['class java.lang.Integer', '1']);
  assert.deepEqual(streams.enabled0, ['class java.lang.Boolean', 'true']);
  assert.deepEqual(streams.useAuth0, ['class java.lang.Boolean', 'false']);
  assert.deepEqual(streams.connectString0, ['class java.lang.String', '10.41.0.1:8089:ssl']);
  assert.deepEqual(streams.caLocation0, ['class java.lang.String', `cert/${base}-ca.p12`]);
  assert.deepEqual(streams.certificateLocation0, ['class java.lang.String', `cert/${base}-alpha-1.p12`]);
  const app = pref['com.atakmap.app_preferences']!;
  assert.deepEqual(app.locationCallsign, ['class java.lang.String', NASTY], 'escaped, and whole');
  assert.deepEqual([app.locationTeam![1], app.atakRoleType![1]], ['Dark Green', 'Team Lead']);

  const [caPassword, clientPassword] = [streams.caPassword0![1], streams.clientPassword0![1]];
  assert.notEqual(caPassword, clientPassword);
  const trust = join(folder, `certs/${base}-ca.p12`);
  const trusted = pkcs12(trust, caPassword);
  assert.doesNotMatch(trusted, /PRIVATE KEY/);
  assert.equal(
    new X509Certificate(trusted.slice(trusted.indexOf('-----BEGIN'))).fingerprint256,
    ca.x509.fingerprint256,
  );
  const own = join(folder, `certs/${base}-alpha-1.p12`);
  for (const [path, password] of [
    [trust, caPassword],
    [own, clientPassword],
  ] as const) {
    assert.match(locksOf(path, password), /MAC: sha1, Iteration/i);
    assert.throws(() => pkcs12(path, 'atakatak'), /invalid password/i, 'nobody’s default password');
  }
  assert.match(locksOf(own, clientPassword), /Shrouded Keybag: pbeWithSHA1And3-KeyTripleDES-CBC/);
  const opened = pkcs12(own, clientPassword);
  assert.equal(opened.match(/BEGIN PRIVATE KEY/g)?.length, 1);
  assert.equal(opened.match(/BEGIN CERTIFICATE/g)?.length, 2);
  assert.equal(pkcs12(own, clientPassword, '-nocerts').includes('PRIVATE KEY'), true);
});

test('the key of the CA is in no package, whatever its form', async (t) => {
  const secret = ca.key.export({ type: 'pkcs1', format: 'der' });
  const primes = [secret.subarray(300, 420), secret.subarray(-120)];
  for (const variant of ['atak', 'wintak', 'itak', 'enroll', 'plain'] as const) {
    const { bytes } = await makePackage(orderOf(variant));
    for (const part of primes) assert.equal(bytes.includes(part), false, variant);
  }
  const { folder, names } = await unpacked(t, orderOf('enroll'));
  assert.equal(names.filter((name) => name.endsWith('.p12')).length, 1);
  const pref = prefOf(join(folder, names.find((name) => name.endsWith('.pref'))!)).cot_streams!;
  assert.deepEqual(pref.enrollForCertificateWithTrust0, ['class java.lang.Boolean', 'true']);
  assert.deepEqual(pref.useAuth0, ['class java.lang.Boolean', 'true']);
  assert.equal(pref.certificateLocation0, undefined);
});

test('iTAK: flat, places without an index', async (t) => {
  const { folder, names } = await unpacked(t, orderOf('itak'));
  assert.equal(
    names.some((name) => name.includes('/')),
    false,
  );
  assert.deepEqual(manifestOf(join(folder, 'manifest.xml')), names.slice(1));
  const pref = prefOf(join(folder, 'config.pref'));
  assert.equal(pref.cot_streams!.connectString0![1], '10.41.0.1:8089:ssl');
  const app = pref['com.atakmap.app_preferences']!;
  for (const [place, key] of [
    ['caLocation', 'caPassword'],
    ['certificateLocation', 'clientPassword'],
  ] as const) {
    const file = app[place]![1].replace(/^cert\//, '');
    assert.ok(names.includes(file), file);
    assert.match(pkcs12(join(folder, file), app[key]![1]), /BEGIN CERTIFICATE/);
  }
});

test('WinTAK: the ATAK package inside another', async (t) => {
  const { folder, names } = await unpacked(t, orderOf('wintak'));
  assert.equal(names.length, 2);
  assert.deepEqual(manifestOf(join(folder, 'MANIFEST/manifest.xml')), [names[1]]);
  const inner = unzip(join(folder, names[1]!), join(folder, 'inner'));
  assert.deepEqual(manifestOf(join(inner.folder, 'MANIFEST/manifest.xml')), inner.names.slice(1));
  assert.equal(inner.names.filter((name) => name.endsWith('.p12')).length, 2);
});

test('plain TCP: no stores, no promise of any', async (t) => {
  const { folder, names } = await unpacked(t, orderOf('plain'));
  assert.deepEqual(
    names.map((name) => name.replace(/.*\./, '')),
    ['xml', 'pref'],
  );
  assert.equal(prefOf(join(folder, names[1]!)).cot_streams!.connectString0![1], '10.41.0.1:8089:tcp');
});

test('names are made harmless: no entry leaves its folder, two boxes never share a file name', async (t) => {
  for (const name of [
    '../../etc/passwd',
    '/abs/olute',
    '..\\..\\x',
    '\u202e',
    '.',
    'a/b',
    'CON',
    `x${'y'.repeat(300)}`,
  ]) {
    const order = orderOf('atak', { phone: name, station: { ...orderOf('atak').station, name } });
    const { names, zip } = await unpacked(t, order);
    for (const entry of names) assert.match(entry, /^(?:MANIFEST|certs)\/[a-z0-9.-]{1,90}$/);
    assert.equal(names.length, 4, name);
    assert.match(zip, /ws-package-\w+\/[a-z0-9-]+\.zip$/);
    assert.match(slug(name), /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/);
  }
  const other = makeCa({ cn: 'vehicle-3 CA', key: 'rsa' });
  const twin = { ...orderOf('atak').station, caPem: other.certPem, caFingerprint: other.fingerprint };
  const [one, two] = [await unpacked(t, orderOf('atak')), await unpacked(t, orderOf('atak', { station: twin }))];
  assert.deepEqual(
    one.names.filter((name) => two.names.includes(name)),
    ['MANIFEST/manifest.xml'],
  );
});

test('presets are of ATAK’s own kind', () => {
  assert.deepEqual(presets.parse({}), { callsign: '', team: '', role: '' });
  assert.equal(presets.parse({ callsign: '  Zulu 7 ' }).callsign, 'Zulu 7');
  const bad = [
    { report: '1' },
    { team: 'Pink' },
    { role: 'King' },
    { callsign: 'a\nb' },
    { callsign: 'x'.repeat(49) },
    { colour: 'x' },
  ];
  for (const said of bad) assert.equal(presets.safeParse(said).success, false, JSON.stringify(said));
  assert.equal(profilePackage('box', presets.parse({})), undefined);
});

test('a phone that is to report less often is told so by ATAK’s own preferences; what is seldomer stays', async (t) => {
  const told = async (report: PackageOrder['presets']['report']) => {
    const order = orderOf('atak');
    const { folder, names } = await unpacked(t, { ...order, presets: { ...order.presets, report } });
    const app = prefOf(join(folder, names.find((name) => name.endsWith('.pref'))!))['com.atakmap.app_preferences']!;
    return Object.entries(app).filter(([key]) => key.includes('ReportingRate'));
  };
  assert.deepEqual(await told(''), []);
  assert.deepEqual(await told(undefined), []);
  assert.deepEqual(
    (await told('30')).map(([key, [type, value]]) => [key, type, value]),
    [
      ['dynamicReportingRateMaxReliable', 'class java.lang.String', '30'],
      ['dynamicReportingRateMinReliable', 'class java.lang.String', '30'],
      ['dynamicReportingRateStationaryReliable', 'class java.lang.String', '180'],
      ['constantReportingRateReliable', 'class java.lang.String', '30'],
      ['dynamicReportingRateMaxUnreliable', 'class java.lang.String', '30'],
      ['dynamicReportingRateMinUnreliable', 'class java.lang.String', '30'],
      ['dynamicReportingRateStationaryUnreliable', 'class java.lang.String', '30'],
      ['constantReportingRateUnreliable', 'class java.lang.String', '30'],
    ],
  );
});

test('a profile holds the presets alone', (t) => {
  const base = mkdtempSync(join(tmpdir(), 'ws-profile-'));
  t.after(() => rmSync(base, { recursive: true }));
  const made = profilePackage('box', presets.parse({ callsign: NASTY, team: 'Cyan' }))!;
  writeFileSync(join(base, made.fileName), made.bytes);
  const { folder } = unzip(join(base, made.fileName), join(base, 'out'));
  assert.deepEqual(readdirSync(folder).sort(), ['MANIFEST', 'box-profile.pref']);
  const app = prefOf(join(folder, 'box-profile.pref'))['com.atakmap.app_preferences']!;
  assert.deepEqual(Object.keys(app), ['locationCallsign', 'locationTeam']);
  assert.equal(app.locationCallsign![1], NASTY);
  assert.ok(/^[\x00-\x7f]*$/.test(readFileSync(join(folder, 'box-profile.pref'), 'latin1')), 'ASCII throughout');
});

test('where files have another port than ATAK expects, the package tells it, and only then', async (t) => {
  const told = async (variant: PackageOrder['variant'], filesPort: number | undefined) => {
    const order = orderOf(variant);
    const { folder, names } = await unpacked(t, { ...order, station: { ...order.station, filesPort } });
    const pref = prefOf(join(folder, names.find((name) => name.endsWith('.pref'))!));
    const { apiSecureServerPort, apiUnsecureServerPort } = pref['com.atakmap.app_preferences']!;
    return [apiSecureServerPort, apiUnsecureServerPort];
  };
  assert.deepEqual(await told('atak', 9443), [['class java.lang.String', '9443'], undefined]);
  assert.deepEqual(await told('atak', 8443), [undefined, undefined]);
  assert.deepEqual(await told('atak', undefined), [undefined, undefined]);
  assert.deepEqual(await told('plain', 9080), [undefined, ['class java.lang.String', '9080']]);
});
