// G5: trust of two factors between two boxes over HTTPS: certificates pinned, a secret for each direction; ping, the fleet of both,
// rotation, audit, metrics; and whoever has one factor only, or the wrong one. Two real relays; curl and openssl as a partner that
// we did not write.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Fleet } from '../../src/core/fleet.ts';
import { phone, sa } from '../support/cot-client.ts';
import { askSocket, curl, noCurl } from '../support/curl.ts';
import { makePair } from '../support/peers/certs.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

interface Box {
  readonly home: RelayHome;
  readonly url: string;
  readonly phones: number;
}

async function box(t: TestContext, name: string): Promise<Box> {
  const [api, tls, phones] = (await freePorts(3)) as [number, number, number];
  const home = new RelayHome(t, name);
  home.configure(api, `links:\n  - { name: phones, kind: cot, listen: ${phones} }\n`, `tls: ${tls}`);
  await home.start();
  return { home, phones, url: `https://127.0.0.1:${tls}` };
}

function ask({ home }: Box, method: string, path: string, body?: unknown) {
  return askSocket(home, method, path, body);
}

/** As this box tells it: what the other has to pin. */
async function told(of: Box) {
  const issued = await ask(of, 'POST', '/api/federation/certificate', {});
  assert.equal(issued.status, 201, issued.text);
  const { this_box } = (await ask(of, 'GET', '/api/federation/partners')).json;
  return { pin: `SHA256:${issued.json.fingerprint}`, server_pin: this_box.server_pin, issued: issued.json };
}

/** Both know each other, and have swapped secrets. */
async function pair(a: Box, b: Box): Promise<{ readonly ofA: string; readonly ofB: string }> {
  const [ta, tb] = [await told(a), await told(b)];
  const add = (at: Box, name: string, url: string, { pin, server_pin }: typeof ta) =>
    ask(at, 'POST', '/api/federation/partners', { name, url, pins: [pin], server_pin });
  const [atA, atB] = [await add(a, 'bravo', b.url, tb), await add(b, 'alpha', a.url, ta)];
  assert.deepEqual([atA.status, atB.status], [201, 201], atA.text + atB.text);
  const [ofA, ofB] = [atA.json.inbound_secret, atB.json.inbound_secret];
  assert.equal((await ask(a, 'PATCH', '/api/federation/partners/bravo', { secret: ofB })).status, 200);
  assert.equal((await ask(b, 'PATCH', '/api/federation/partners/alpha', { secret: ofA })).status, 200);
  return { ofA, ofB };
}

const ping = async (at: Box, name: string) => (await ask(at, 'GET', `/api/federation/partners/${name}/ping`)).json;
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesIn(join(folder, entry.name)) : entry.isFile() ? [join(folder, entry.name)] : [],
  );

test('G5: two boxes, two factors, read-only', { skip: noCurl }, async (t) => {
  const [a, b] = await Promise.all([box(t, 'box-a'), box(t, 'box-b')]);
  const fleet = async (query = ''): Promise<Fleet> => (await ask(a, 'GET', `/api/fleet${query}`)).json;
  const audit = async (
    of: Box,
  ): Promise<{ action: string; who: string; target: string; outcome: string; detail: string }[]> =>
    (await ask(of, 'GET', '/api/audit?limit=200')).json.entries;
  const metrics = async ({ home }: Box) => (await curl(`${home.api}/metrics`)).text;
  const { ofA, ofB } = await pair(a, b);

  await t.test('certificate: its subject and 90 days; the key never leaves', async () => {
    const { this_box } = (await ask(a, 'GET', '/api/federation/partners')).json;
    const [{ certificate_pem, fingerprint }] = this_box.certificates;
    const leaf = new X509Certificate(certificate_pem);
    assert.equal(leaf.fingerprint256.replaceAll(':', '').toLowerCase(), fingerprint);
    assert.equal(leaf.subject, 'CN=box-a');
    const days = (leaf.validToDate.getTime() - Date.now()) / 86_400_000;
    assert.ok(days > 89 && days < 91, String(days));
    assert.ok(!JSON.stringify(this_box).includes('PRIVATE KEY'));
  });

  await t.test('ping: 200 with latency, both ways', async () => {
    for (const [at, name, node] of [
      [a, 'bravo', 'box-b'],
      [b, 'alpha', 'box-a'],
    ] as const) {
      const { latency_ms, ...answer } = await ping(at, name);
      assert.deepEqual(answer, { peer: name, ok: true, outcome: 'ok', status: 200, error: null }, node);
      assert.ok(latency_ms >= 0 && latency_ms < 20_000);
      const [{ pings, asked, calls }] = (await ask(at, 'GET', '/api/federation/partners')).json.partners;
      assert.deepEqual([pings.out.outcome, pings.out.error], ['ok', null]);
      // Who pinged first has not been pinged yet.
      assert.deepEqual([pings.in !== null, asked?.outcome], at === b ? [true, 'ok'] : [false, undefined]);
      assert.deepEqual(calls[0].outcome, 'ok');
    }
  });

  await t.test('secrets: 32 bytes, shown once, never to be read again, not in any file', async () => {
    assert.equal(Buffer.from(ofA, 'base64url').length, 32);
    assert.notEqual(ofA, ofB);
    const { partners } = (await ask(a, 'GET', '/api/federation/partners')).json;
    assert.deepEqual(Object.keys(partners[0].inbound), ['made_at', 'previous_until']);
    assert.ok(partners[0].outbound.set_at);
    await new Promise((done) => setTimeout(done, 1_500)); // the store commits once a second
    for (const { home } of [a, b]) {
      for (const file of filesIn(home.file('data'))) {
        const bytes = readFileSync(file);
        for (const secret of [ofA, ofB]) assert.ok(!bytes.includes(secret), file);
      }
      assert.ok(![ofA, ofB].some((secret) => home.output.includes(secret)), 'nor in the log');
    }
  });

  const theirs = await phone(t, { port: b.phones });

  await t.test('fleet: units, relays, links of both, ids peer:NAME/ID, filtered and searched', async () => {
    theirs.send(sa('UNIT-B', 'BRAVO-1', Date.now()));
    await b.home.until(({ units }) => units === 1, 'the unit');
    const list = await fleet();
    assert.deepEqual(
      list.units.map(({ id, peer }) => [id, peer]),
      [['peer:bravo/UNIT-B', 'bravo']],
    );
    const relay = list.relays.find(({ peer }) => peer === 'bravo')!;
    assert.match(relay.id, /^peer:bravo\/ws-/);
    assert.deepEqual(relay.links, [{ name: 'phones', kind: 'cot', state: 'listening' }]);
    assert.deepEqual((await fleet('?peer=bravo&q=bravo-1')).units.length, 1);
    assert.deepEqual((await fleet('?q=nothing-of-this')).units, []);
    assert.match(await a.home.command('fleet', '--api', a.home.api), /UNIT-B/);
    await ask(b, 'PATCH', '/api/federation/partners/alpha', { units: false });
    assert.deepEqual((await fleet('?peer=bravo')).units, [], 'not what it may not see');
    await ask(b, 'PATCH', '/api/federation/partners/alpha', { units: true });
  });

  await t.test(
    'audit: Federation.PeerCalled here, Federation.RemoteRequest with peer and endpoint there; both counted',
    async () => {
      const called = (await audit(a)).filter(({ action }) => action === 'Federation.PeerCalled');
      assert.ok(
        called.some(
          ({ target, detail, outcome }) => target === 'bravo' && detail.includes('/ping') && outcome === '200',
        ),
      );
      assert.ok(called.some(({ target, detail }) => target === 'bravo' && detail === 'GET /status'));
      const asked = (await audit(b)).filter(({ action }) => action === 'Federation.RemoteRequest');
      assert.ok(asked.some(({ who, detail }) => who === 'alpha' && detail === 'GET /api/federation/ping'));
      assert.ok(asked.some(({ who, detail }) => who === 'alpha' && detail === 'GET /units'));
      const [ours, them] = [await metrics(a), await metrics(b)];
      assert.match(ours, /^waystation_federation_calls_total\{peer="bravo",direction="out",outcome="ok"\} \d+$/m);
      assert.match(them, /^waystation_federation_calls_total\{peer="alpha",direction="in",outcome="ok"\} \d+$/m);
    },
  );

  await t.test('read-only: nothing can be changed, and nothing else read', async () => {
    const answer = await ask(a, 'POST', '/api/node/bravo/status', { x: 1 });
    assert.equal(answer.status, 405);
    assert.equal((await ask(a, 'GET', '/api/node/bravo/files/x')).status, 404);
  });

  await t.test('rotation: a new secret while the old one still works, then without it', async () => {
    const rotated = await ask(b, 'POST', '/api/federation/partners/alpha/rotate', { overlap_hours: 1 });
    assert.ok(rotated.json.inbound.previous_until);
    assert.equal((await ping(a, 'bravo')).outcome, 'ok', 'by the one before');
    await ask(a, 'PATCH', '/api/federation/partners/bravo', { secret: rotated.json.inbound_secret });
    assert.equal((await ping(a, 'bravo')).outcome, 'ok', 'by the new one');
    await ask(b, 'POST', '/api/federation/partners/alpha/rotate', { overlap_hours: 0 });
    const { outcome, status, error } = await ping(a, 'bravo');
    assert.deepEqual([outcome, status], ['secret', 401]);
    assert.match(error, /alpha showed a secret that is not, or no longer/);
    const last = await ask(b, 'POST', '/api/federation/partners/alpha/rotate', { overlap_hours: 0 });
    await ask(a, 'PATCH', '/api/federation/partners/bravo', { secret: last.json.inbound_secret });
    assert.equal((await ping(a, 'bravo')).outcome, 'ok');
  });

  await t.test('a new certificate: the one before is used until the new one is pinned', async () => {
    const { pin } = await told(a);
    assert.equal((await ping(a, 'bravo')).outcome, 'ok');
    assert.equal((await ask(b, 'PATCH', '/api/federation/partners/alpha', { pins: [pin] })).status, 200);
    assert.equal((await ping(a, 'bravo')).outcome, 'ok');
  });

  await t.test(
    'a server that is not the pinned one is told no secret: the TLS error stands in the answer',
    async () => {
      const { server_pin } = (await ask(a, 'GET', '/api/federation/partners')).json.partners[0];
      const refusedBefore = /code="secret_/.test(await metrics(b));
      await ask(a, 'PATCH', '/api/federation/partners/bravo', { server_pin: `SHA256:${'ab'.repeat(32)}` });
      const { outcome, error } = await ping(a, 'bravo');
      assert.equal(outcome, 'tls');
      assert.match(error, /the server of bravo is not who was pinned/);
      assert.equal(/code="secret_/.test(await metrics(b)), refusedBefore);
      await ask(a, 'PATCH', '/api/federation/partners/bravo', { server_pin });
    },
  );

  await t.test(
    'partial results: a partner that is away is a badge with its last contact, the list is whole',
    async () => {
      assert.equal((await fleet()).peers[0]?.reachable, true);
      await b.home.kill();
      const list = await fleet();
      assert.deepEqual(
        list.peers.map(({ name, reachable }) => [name, reachable]),
        [['bravo', false]],
      );
      assert.ok(Date.parse(list.peers[0]!.lastContact!) > Date.now() - 120_000);
      assert.match(list.peers[0]!.words, /refused the connection/);
      assert.deepEqual(
        list.relays.map(({ peer }) => peer),
        [null],
      );
      assert.match(await metrics(a), /peer="bravo",direction="out",outcome="unreachable"\} \d/);
    },
  );

  await t.test('the command line shows what to tell, pings, and says what is wrong', async () => {
    const listed = await a.home.command('partner', 'list');
    assert.match(listed, /^bravo +https:\/\/127\.0\.0\.1:\d+ +entered +failed/m);
    assert.match(listed, /server pin +SHA256:[0-9a-f]{64}\n +pin +SHA256:[0-9a-f]{64} /);
  });

  await t.test('it all outlives a restart', async () => {
    await b.home.start();
    await a.home.kill('SIGTERM');
    await a.home.start();
    assert.match(await a.home.command('partner', 'ping', 'bravo'), /^bravo: ok, \d+ ms$/m);
    const printed = await b.home.command('partner', 'rotate', 'alpha', '--overlap', '0');
    const failed = await a.home.command('partner', 'ping', 'bravo').catch((error: { stdout: string }) => error.stdout);
    assert.match(failed, /^bravo: secret: alpha showed a secret/);
    writeFileSync(a.home.file('from-bravo'), printed);
    await a.home.command('partner', 'set', 'bravo', '--secret-file', a.home.file('from-bravo'));
    assert.match(await a.home.command('partner', 'ping', 'bravo'), /^bravo: ok/m);
  });
});

test('G5: a partner by curl, and whoever lacks a factor', { skip: noCurl }, async (t) => {
  const us = await box(t, 'us');
  const [known, stranger] = [makePair('known', 'clientAuth'), makePair('stranger', 'clientAuth')];
  const files = (name: string, { chainPem, keyPem }: typeof known) => {
    writeFileSync(us.home.file(`${name}.pem`), chainPem);
    writeFileSync(us.home.file(`${name}.key`), keyPem);
    return ['--cert', us.home.file(`${name}.pem`), '--key', us.home.file(`${name}.key`)];
  };
  const [withKnown, withStranger] = [files('known', known), files('stranger', stranger)];
  const get = (path: string, ...args: string[]) => curl('-k', '--retry', '0', ...args, `${us.url}${path}`);
  const asks = (): boolean => {
    const out = execFileSync('openssl', ['s_client', '-connect', us.url.slice(8)], {
      input: '',
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    return (
      /Acceptable client certificate CA names|Client Certificate Types|No client certificate CA names sent/.test(
        String(out),
      ) && /Requested Signature Algorithms/.test(String(out))
    );
  };

  await t.test('while there is no partner, nobody is asked for a certificate', () => {
    assert.equal(asks(), false);
  });

  const pin = new X509Certificate(known.leafPem).fingerprint256;
  const ours = 'the-secret-that-we-show-them-0123456789';
  const made = await ask(us, 'POST', '/api/federation/partners', { name: 'ampora', pins: [pin], secret: ours });
  assert.equal(made.status, 201, made.text);
  const secret: string = made.json.inbound_secret;
  const shows = (value: string, header = 'X-Federation-Secret') => ['-H', `${header}: ${value}`];
  const refused = (code: string) => async () => {
    const count = new RegExp(`waystation_api_refused_total\\{code="${code}"\\} (\\d+)`);
    return Number(count.exec((await curl(`${us.home.api}/metrics`)).text)?.[1] ?? 0);
  };

  await t.test('it is asked then, and who shows none still has the page', async () => {
    assert.equal(asks(), true);
    assert.equal((await get('/')).status, 200);
    assert.equal((await get('/api/federation/partners')).status, 401);
  });

  await t.test('both factors: 200, and the shape of the answer', async () => {
    const { status, json } = await get('/api/federation/ping', ...withKnown, ...shows(secret));
    assert.equal(status, 200);
    const { latency_ms, now, node_id, version, ...rest } = json;
    assert.deepEqual(rest, { ok: true, peer: 'ampora', node: 'us', secret: 'current' });
    assert.ok(latency_ms >= 0 && Date.parse(now) > 0 && node_id.startsWith('ws-') && version);
    assert.equal((await get('/api/federation/resources/health', ...withKnown, ...shows(secret))).json.name, 'us');
    assert.equal((await get('/api/federation/resources/files/x', ...withKnown, ...shows(secret))).status, 404);
    assert.equal((await get('/api/config', ...withKnown, ...shows(secret))).status, 401, 'it is nobody elsewhere');
  });

  // Each is refused by name, counted, and in the audit; five wrong tries of an address are free.
  const cases = [
    ['no certificate', 403, 'certificate_needed', shows(secret), 'unknown'],
    ['a certificate that is not pinned', 403, 'certificate_not_pinned', [...withStranger, ...shows(secret)], 'unknown'],
    ['no secret', 401, 'secret_needed', withKnown, 'ampora'],
    ['the secret of the other direction', 401, 'secret_wrong_direction', [...withKnown, ...shows(ours)], 'ampora'],
    ['a wrong secret', 401, 'secret_wrong', [...withKnown, ...shows('x'.repeat(43))], 'ampora'],
  ] as const;
  for (const [what, status, code, args, peer] of cases) {
    await t.test(`${what}: ${code}`, async () => {
      const count = refused(code);
      const before = await count();
      const answer = await get('/api/federation/ping', ...args);
      assert.deepEqual([answer.status, answer.json.code], [status, code]);
      assert.ok(!answer.text.includes(secret) && !answer.text.includes(ours));
      assert.equal(await count(), before + 1);
      const { entries } = (await ask(us, 'GET', '/api/audit?kind=refused&limit=10')).json;
      assert.deepEqual([entries[0].outcome, entries[0].action], [code, 'GET /api/federation/ping']);
      const text = (await curl(`${us.home.api}/metrics`)).text;
      assert.ok(
        text.includes(`waystation_federation_calls_total{peer="${peer}",direction="in",outcome="${code}"} 1`),
        text,
      );
    });
  }

  await t.test('more wrong tries wait; who was right before is not locked out by them', async () => {
    const headers = us.home.file('headers');
    // Each wrong try that is judged doubles the wait: on a slow machine the first waits are over before the next try comes.
    for (let waits = 0; waits < 4; ) {
      const answer = await get('/api/federation/ping', ...withKnown, ...shows('y'.repeat(43)), '-D', headers);
      assert.match(String([answer.status, answer.json.code]), /^(401,secret_wrong|429,too_many_tries)$/);
      if (answer.status === 429) waits = Number(/retry-after: (\d+)/i.exec(readFileSync(headers, 'utf8'))?.[1]);
      assert.ok(waits >= 0, 'it says how long');
    }
    assert.equal((await get('/api/federation/ping', ...withStranger, ...shows(secret))).status, 429);
    assert.equal((await get('/api/federation/ping', ...withKnown, ...shows(secret))).status, 200);
  });

  await t.test('another header, and a bearer’s', async () => {
    await ask(us, 'PATCH', '/api/federation/partners/ampora', { header: 'X-Ampora-Key' });
    assert.equal(
      (await get('/api/federation/ping', ...withKnown, ...shows(secret, 'X-Ampora-Key'))).status,
      429,
      'found anew',
    );
    await us.home.kill('SIGTERM');
    await us.home.start();
    assert.equal((await get('/api/federation/ping', ...withKnown, ...shows(secret, 'x-ampora-key'))).status, 200);
    await ask(us, 'PATCH', '/api/federation/partners/ampora', { header: 'Authorization' });
    const bearer = ['-H', `Authorization: Bearer ${secret}`];
    assert.equal((await get('/api/federation/ping', ...withKnown, ...bearer)).status, 200);
    for (const header of ['Host', 'Content-Length', 'Cookie', 'x y', '']) {
      assert.equal((await ask(us, 'PATCH', '/api/federation/partners/ampora', { header })).status, 400, header);
    }
  });

  await t.test(
    'revoked, it is a stranger on its next request; removed, nobody is asked for a certificate any more',
    async () => {
      const bearer = ['-H', `Authorization: Bearer ${secret}`];
      await ask(us, 'PATCH', '/api/config/setting', { path: 'revoked', value: [`SHA256:${pin}`] });
      const answer = await get('/api/federation/ping', ...withKnown, ...bearer);
      assert.deepEqual([answer.status, answer.json.code], [403, 'certificate_unfit']);
      assert.match(answer.json.detail, /revoked/);
      assert.equal((await ask(us, 'DELETE', '/api/federation/partners/ampora')).status, 204);
      assert.equal((await get('/api/federation/ping', ...withKnown, ...bearer)).json.code, 'certificate_needed');
      assert.equal(asks(), false);
    },
  );
});
