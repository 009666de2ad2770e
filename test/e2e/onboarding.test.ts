// A phone's way in, whole: from the text of a QR code to a track of another box; enrolled; renewed; revoked; and who tries without.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { type TestContext, test } from 'node:test';
import { type Imported, importFromQr, preferencesFromQr, startAtak } from '../support/atak.ts';
import { phone } from '../support/cot-client.ts';
import { curl, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

interface Box {
  readonly relay: RelayHome;
  readonly http: string;
  readonly enroll: number;
  readonly tls: number;
  /** Phones of the other box connect here, without TLS. */
  readonly far: number;
  readonly other: RelayHome;
}

/** A vehicle that phones join, federated with headquarters. */
async function boxes(t: TestContext): Promise<Box> {
  const [aApi, aTls, tls, enroll, bApi, fed, far] = (await freePorts(7)) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const relay = new RelayHome(t, 'vehicle');
  const other = new RelayHome(t, 'hq');
  const api = `tls: ${aTls}, enroll: ${enroll}`;
  const links = `links:\n  - { name: phones-tls, kind: cot, listen: "127.0.0.1:${tls}", tls: true }\n`;
  relay.configure(aApi, links, api);
  other.configure(bApi, 'links: []\n');
  const [a, b] = await Promise.all([relay.command('cert', 'show', '--ca'), other.command('cert', 'show', '--ca')]);
  writeFileSync(relay.file('hq-ca.pem'), b);
  writeFileSync(other.file('vehicle-ca.pem'), a);
  relay.configure(aApi, `trust: [hq-ca.pem]\n${links}  - { name: hq, kind: fed2, connect: "127.0.0.1:${fed}" }\n`, api);
  other.configure(
    bApi,
    `trust: [vehicle-ca.pem]\nlinks:\n  - { name: phones, kind: cot, listen: ${far} }\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${fed}" }\n`,
  );
  await Promise.all([relay.start(), other.start()]);
  await linked(relay);
  return { relay, other, http: relay.api, enroll, tls, far };
}

function linked(relay: RelayHome): Promise<unknown> {
  return relay.until(({ peers }) => peers.some(({ link, connected }) => link === 'hq' && connected), 'federation');
}

interface Invitation {
  readonly id: string;
  readonly code: string;
  readonly join: string;
  readonly atak: string;
  readonly enroll: string;
  readonly preference: string;
}

/** By the command line, as on the box. */
async function add(relay: RelayHome, name: string, ...more: string[]): Promise<Invitation> {
  const text = await relay.command('phone', 'add', name, '--host', '127.0.0.1', '--json', ...api(relay), ...more);
  return JSON.parse(text) as Invitation;
}

function api(relay: RelayHome): string[] {
  return ['--api', `unix:${relay.file('data/api.sock')}`];
}

async function listed(
  relay: RelayHome,
): Promise<readonly { name: string; connected: unknown; seenMs: number | null; fingerprint: string }[]> {
  return JSON.parse(await relay.command('phone', 'list', '--json', ...api(relay)));
}

async function status(url: string): Promise<readonly [number, string]> {
  const response = await fetch(url, { redirect: 'manual' });
  const text = await response.text();
  return [response.status, response.status === 200 ? '' : String((/"code":"(\w+)"/.exec(text) ?? [])[1])];
}

test('phones', async (t) => {
  const box = await boxes(t);
  const { relay } = box;
  let first: Imported;

  await t.test('from the QR code to a track of another box, and on over restarts of both', async (t) => {
    const begun = Date.now();
    const given = await add(relay, 'Alpha', '--callsign', 'A&<1> "Ä"', '--team', 'Dark Blue', '--role', 'Medic');
    const { atak } = given;
    assert.deepEqual(
      [...preferencesFromQr(given.preference)],
      [
        ['locationCallsign', 'A&<1> "Ä"'],
        ['locationTeam', 'Dark Blue'],
        ['atakRoleType', 'Medic'],
      ],
    );
    const scanned = Date.now();
    first = await importFromQr(t, atak);
    assert.equal(first.callsign, 'A&<1> "Ä"');
    const alpha = await startAtak(t, { ...first, callsign: 'ALPHA' }, 'ANDROID-alpha');
    assert.equal(alpha.authorized, true, 'the truststore vouches for the server');
    const far = await phone(t, { port: box.far });
    far.announce('ANDROID-far', 'FARAWAY');
    await alpha.withUid('ANDROID-far');
    const toTrackMs = Date.now() - scanned;
    t.diagnostic(`QR to first track ${toTrackMs} ms, with the making of the code ${scanned - begun} ms more`);
    assert.ok(toTrackMs <= 10_000, `${toTrackMs} ms from the QR code to the first track`);
    await far.withUid('ANDROID-alpha');
    const [mine] = await listed(relay);
    assert.match(JSON.stringify(mine!.connected), /127\.0\.0\.1:\d+.*ALPHA/);

    assert.deepEqual([await relay.kill('SIGKILL'), await box.other.kill('SIGTERM')], [null, 0]);
    await alpha.untilClosed();
    await Promise.all([relay.start(), box.other.start()]);
    await linked(relay);
    const again = await startAtak(t, { ...first, callsign: 'ALPHA' }, 'ANDROID-alpha');
    const farAgain = await phone(t, { port: box.far });
    farAgain.announce('ANDROID-far-2', 'FARTHER');
    await again.withUid('ANDROID-far-2');
    await farAgain.withUid('ANDROID-alpha');
  });

  await t.test('a code is used once, a look uses nothing up, and guessing gets slow', async () => {
    const { join, code, preference } = await add(relay, 'Bravo');
    assert.equal(preference, '', 'nothing is preset');
    const packageUrl = `${join}/atak/x.zip`;
    assert.equal((await fetch(join)).status, 200);
    assert.equal((await fetch(packageUrl, { method: 'HEAD' })).status, 200);
    assert.equal((await fetch(`${join}/enroll/x.zip`)).status, 200);
    assert.equal(
      (await fetch(`${join}/itak/x.dpk`)).headers.get('content-disposition')?.endsWith('-bravo-itak.dpk"'),
      true,
    );
    assert.deepEqual(await status(packageUrl), [404, 'bad_code'], 'another app: used');
    assert.equal((await status(join))[0], 404);
    assert.deepEqual(await status(`${box.http}/join/${code}/../../etc/x.zip`), [404, 'not_found']);
    assert.deepEqual(await status(`${box.http}/join/${code}/..%2f..%2fetc/x.zip`), [400, 'bad_path']);
    assert.deepEqual(await status(`${box.http}/join/${code}/plain/x.zip`), [400, 'bad_value']);
    const answers: string[] = [];
    for (let n = 0; n < 8; n++) answers.push((await status(`${box.http}/join/AAAA-BBBB-CCCC-DDD${n}/atak/x.zip`))[1]);
    assert.equal(answers.at(-1), 'too_many_tries', answers.join());
  });

  await t.test('a phone that is revoked is cut off at once, and stays out over a restart', async (t) => {
    const alpha = await startAtak(t, { ...first, callsign: 'ALPHA' }, 'ANDROID-alpha');
    const far = await phone(t, { port: box.far });
    far.announce('ANDROID-far-3', 'FAR3');
    await alpha.withUid('ANDROID-far-3');
    const revoking = relay.command('phone', 'revoke', 'Alpha', ...api(relay));
    const ms = await alpha.untilClosed();
    assert.match(await revoking, /Alpha is revoked/);
    t.diagnostic(`closed ${ms} ms after the command was started`);
    assert.match(relay.output, /"type":"peer_down"[^\n]*"reason":"revoked"/);
    await turnedAway(t, first);
    await relay.until(
      ({ links }) =>
        links.some(({ name, refusals }) => name === 'phones-tls' && JSON.stringify(refusals).includes('revoked')),
      'the refusal, by its name',
    );
    await relay.kill('SIGKILL');
    await relay.start();
    await turnedAway(t, first);
  });

  await t.test('renewed: the old one ends when the new one comes', async (t) => {
    const charlie = await add(relay, 'Charlie');
    const before = await importFromQr(t, charlie.atak);
    const old = await startAtak(t, before, 'ANDROID-charlie');
    const { atak } = JSON.parse(
      await relay.command('phone', 'renew', 'charlie', '--host', '127.0.0.1', '--json', ...api(relay)),
    ) as Invitation;
    const after = await importFromQr(t, atak);
    assert.notEqual(after.cert, before.cert);
    assert.equal(old.closed, false, 'until the new one is there');
    await startAtak(t, after, 'ANDROID-charlie');
    await old.untilClosed();
    await turnedAway(t, before);
  });

  await t.test('enrolled on 8446: the key stays with the phone, the subject is ours', async () => {
    const { code, enroll } = await add(relay, 'Delta', '--team', 'Red');
    const link = new URL(enroll);
    assert.equal(link.searchParams.get('token'), code);
    assert.equal(link.searchParams.get('host'), `127.0.0.1:${box.enroll}`);
    const ca = await relay.command('cert', 'show', '--ca');
    const ask = (method: string, path: string, body: string, auth = `Delta:${code}`, accept = '*/*') =>
      askTls({ port: box.enroll, ca, method, path, body, auth, accept });
    const key = relay.file('delta.key');
    const csr = (bits: number, subject: string) => {
      const args = ['req', '-new', '-newkey', `rsa:${bits}`, '-nodes', '-keyout', key, '-subj', subject];
      return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
        .replace(/-----[A-Z ]+-----/g, '')
        .trim();
    };
    assert.equal((await ask('GET', '/Marti/api/tls/config', '', 'Delta:wrong')).status, 401);
    assert.equal((await ask('GET', '/Marti/api/tls/config', '', `Bravo:${code}`)).status, 401);
    assert.match((await ask('GET', '/Marti/api/tls/config', '')).body, /<nameEntry name="O" value="vehicle"\/>/);
    assert.equal((await ask('GET', '/api/status', '')).status, 404, 'nothing else is served there');
    const sign = '/Marti/api/tls/signClient/v2?clientUid=ANDROID-delta&version=5.4';
    for (const bad of ['', 'no base64!', 'AAAA', csr(1024, '/CN=x')]) {
      assert.equal((await ask('POST', sign, bad)).status, 400, bad.slice(0, 20));
    }
    const forged = Buffer.from(csr(2048, '/CN=admin'), 'base64');
    forged[forged.length - 1]! ^= 1;
    assert.equal((await ask('POST', sign, forged.toString('base64'))).status, 400);
    assert.equal((await ask('POST', sign, 'A'.repeat(20_000))).status, 413);
    const answer = await ask('POST', sign, csr(2048, '/CN=admin/O=root'));
    assert.equal(answer.status, 200, answer.body);
    const { signedCert, ca0 } = JSON.parse(answer.body) as Record<string, string>;
    const pem = (base64: string) => `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
    const certificate = new X509Certificate(pem(signedCert!));
    assert.equal(certificate.subject, 'CN=Delta');
    assert.ok(certificate.checkPrivateKey(createPrivateKey(readFileSync(key))));
    assert.equal((await ask('POST', sign, csr(2048, '/CN=again'))).status, 401, 'once');
    const profile = await ask('GET', '/Marti/api/tls/profile/enrollment?clientUid=ANDROID-delta', '');
    assert.equal(profile.status, 200);
    assert.equal(profile.body.slice(0, 2), 'PK');
    assert.equal(new X509Certificate(pem(ca0!)).fingerprint256, new X509Certificate(ca).fingerprint256);
  });

  await t.test('enrolled, XML and P12 forms, and a connection with what came back', async (t) => {
    const ca = await relay.command('cert', 'show', '--ca');
    for (const [name, path, accept] of [
      ['Echo', '/Marti/api/tls/signClient/v2', 'application/xml'],
      ['Foxtrot', '/Marti/api/tls/signClient', '*/*'],
    ] as const) {
      const { code } = await add(relay, name);
      const key = relay.file(`${name}.key`);
      const args = ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-subj', '/CN=me'];
      const body = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
      const answer = await askTls({
        port: box.enroll,
        ca,
        method: 'POST',
        path,
        body,
        auth: `${name}:${code}`,
        accept,
      });
      assert.equal(answer.status, 200, answer.body);
      let cert: string;
      if (accept === 'application/xml') {
        const base64 = /<signedCert>([^<]+)<\/signedCert><ca>[^<]+<\/ca>/.exec(answer.body)?.[1];
        cert = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
      } else {
        writeFileSync(relay.file('v1.p12'), answer.body, 'latin1');
        const read = ['pkcs12', '-legacy', '-nokeys', '-in', relay.file('v1.p12'), '-passin', 'pass:atakatak'];
        cert = execFileSync('openssl', read, { encoding: 'utf8' });
      }
      const settings = { ...first, ca, cert, key: readFileSync(key, 'utf8') };
      const atak = await startAtak(t, settings, `ANDROID-${name}`);
      const far = await phone(t, { port: box.far });
      far.announce(`ANDROID-far-${name}`, 'FAR');
      await atak.withUid(`ANDROID-far-${name}`);
    }
  });

  await t.test('a sheet for the vehicle: every phone a code of its own, none of them kept', async () => {
    await add(relay, 'Golf');
    await add(relay, 'Hotel <b>');
    const sheet = relay.file('sheet.html');
    const said = await relay.command(
      'phone',
      'sheet',
      '--out',
      sheet,
      '--ssid',
      'vehicle;net',
      '--passphrase',
      'secret words',
      ...api(relay),
    );
    assert.match(said, /print it/);
    const html = readFileSync(sheet, 'utf8');
    assert.equal(html.match(/<svg /g)?.length, 7, 'Wi-Fi, and three codes each');
    assert.match(html, /Hotel &lt;b&gt;/);
    const codes = [...html.matchAll(/class="big">([^<]+)</g)].map(([, code]) => code);
    assert.equal(new Set(codes).size, 2);
    await assert.rejects(relay.command('phone', 'revoke', 'nobody', ...api(relay)), /there is no phone/);
    await assert.rejects(relay.command('phone', 'add', 'Golf', ...api(relay)), /there is a phone called/);
    await assert.rejects(relay.command('phone', 'add', 'India', '--team', 'Pink', ...api(relay)), /team/);
    await assert.rejects(relay.command('phone', 'add', 'India', '--report', '7', ...api(relay)), /report/);
    await relay.command('phone', 'add', 'India', '--team', 'Red', '--report', '30', ...api(relay));
    assert.match(await relay.command('phone', 'list', ...api(relay)), /India +main +Red, every 30 s/);
    assert.match(await relay.command('phone', '--help'), /revoke PHONE/);
  });
});

/** A handshake may succeed on the client's side before the server has judged it. */
async function turnedAway(t: TestContext, settings: Imported): Promise<void> {
  try {
    const atak = await startAtak(t, settings, 'ANDROID-lost');
    await atak.untilClosed();
    assert.deepEqual(atak.events, []);
  } catch (error) {
    assert.match(String((error as NodeJS.ErrnoException).code), /^(?:ECONNRESET|EPIPE|ERR_SSL)/);
  }
}

interface Asked {
  readonly port: number;
  readonly ca: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly auth: string;
  readonly accept: string;
}

function askTls({ body, accept, ...options }: Asked): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', agent: false, headers: { accept }, ...options }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString('latin1') }),
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

test('in a box with several networks a phone is made for one, and comes in by no other', async (t) => {
  const [api, main, medics] = (await freePorts(3)) as [number, number, number];
  const relay = new RelayHome(t, 'town');
  const yaml = (network: string) => `networks: [{ name: medics }, { name: police }]
links:
  - { name: phones, kind: cot, listen: "127.0.0.1:${main}", tls: true }
  - { name: medics, kind: cot, listen: "127.0.0.1:${medics}", tls: true, policy: { network: ${network} } }
`;
  relay.configure(api, yaml('medics'));
  await relay.start();
  const socket = ['--api', `unix:${relay.file('data/api.sock')}`];
  const [doc, alpha] = [await add(relay, 'Doc', '--network', 'medics'), await add(relay, 'Alpha')];
  const [docHas, alphaHas] = [await importFromQr(t, doc.atak), await importFromQr(t, alpha.atak)];
  assert.deepEqual([docHas.port, alphaHas.port], [medics, main], 'each package leads to the port of its network');
  await assert.rejects(relay.command('phone', 'add', 'Cop', '--network', 'police', ...socket), /no link for phones/);
  const issued = await relay.command('cert', 'issue', 'sensor', '--network', 'police', '--out', relay.file('certs'));
  assert.match(issued, /sensor\.pem/);
  assert.match(new X509Certificate(readFileSync(relay.file('certs/sensor.pem'))).subject, /^OU=police$/m);
  await assert.rejects(relay.command('cert', 'issue', 'x', '--network', 'fire'), /no network "fire"/);

  const here = await startAtak(t, { ...docHas, callsign: 'DOC' }, 'ANDROID-doc');
  await relay.until(({ peers }) => peers.some(({ link, connected }) => link === 'medics' && connected), 'Doc');
  await turnedAway(t, { ...docHas, port: main });
  await relay.until(
    ({ links }) => links.some(({ name, refusals }) => name === 'phones' && refusals.other_network === 1),
    'the refusal',
  );
  const { links } = await relay.status();
  const refused = links.find(({ name }) => name === 'phones')!.lastRefusal!;
  assert.match(refused.words, /"Doc" was made for network medics, and this link is in network main/);
  assert.match(refused.fix, new RegExp(`port ${medics}`));
  const shown = await relay.command('phone', 'list', ...socket);
  assert.match(shown, /Doc +medics[\s\S]*Alpha +main|Alpha +main[\s\S]*Doc +medics/);

  // The port becomes another network's: who is there by a certificate of the old one is cut off.
  relay.configure(api, yaml('police'));
  relay.signal('SIGHUP');
  await here.untilClosed();
  await relay.until(
    ({ links }) => links.some(({ name, refusals }) => name === 'medics' && (refusals.other_network ?? 0) > 0),
    'the refusal there',
  );
});

test('the page of phones offers the networks there are, and shows whose network each is', {
  skip: noCurl,
}, async (t) => {
  const [api, tls, main, medics] = (await freePorts(4)) as [number, number, number, number];
  const relay = new RelayHome(t, 'paged');
  const links = [
    `{ name: phones, kind: cot, listen: "127.0.0.1:${main}", tls: true }`,
    `{ name: medics, kind: cot, listen: "127.0.0.1:${medics}", tls: true, policy: { network: medics } }`,
  ];
  relay.configure(api, `networks: [{ name: medics }]\nlinks: [${links.join(', ')}]\n`, `tls: ${tls}`);
  writeFileSync(relay.file('ca.pem'), await relay.command('cert', 'show', '--ca'));
  await relay.start();
  const jar = relay.file('jar');
  const ask = (path: string, fields: Record<string, string> = {}) =>
    curl(
      ...['--retry', '0', '--cacert', relay.file('ca.pem'), '-b', jar, '-c', jar],
      ...Object.entries(fields).flatMap(([name, value]) => ['--data-urlencode', `${name}=${value}`]),
      `https://localhost:${tls}${path}`,
    );
  const code = readFileSync(relay.file('data/setup-code'), 'utf8').trim();
  assert.equal((await ask('/login', { code, username: 'admin', password: 'correct horse battery' })).status, 303);
  const { text } = await ask('/phones');
  assert.match(text, /<select id="network" name="network"><option>main<\/option><option>medics<\/option><\/select>/);
  const csrf = /name="csrf" value="([^"]+)"/.exec(text)?.[1] ?? '';
  const fields = { csrf, callsign: '', team: '', role: '', host: '127.0.0.1' };
  assert.equal((await ask('/phones', { ...fields, name: 'Doc', network: 'medics' })).status, 200);
  const refused = await ask('/phones', { ...fields, name: 'Cop', network: 'police' });
  assert.equal(refused.status, 400);
  assert.match(refused.text, /no link for phones with a certificate is in a network/);
  assert.match((await ask('/phones')).text, /aria-label="Doc">[\s\S]*<dt>Network<\/dt><dd>medics<\/dd>/);
});
