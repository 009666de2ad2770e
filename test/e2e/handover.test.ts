// G5: a phone moves to another box with its certificate: known there at once by it, its row here marked. And handovers that are
// forged, altered, late, for somebody else, or told twice.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { phone, sa } from '../support/cot-client.ts';
import { askSocket, curl, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

interface Box {
  readonly home: RelayHome;
  readonly url: string;
  readonly phones: number;
  readonly enroll: number;
}

async function box(t: TestContext, name: string): Promise<Box> {
  const [api, tls, enroll, phones] = (await freePorts(4)) as [number, number, number, number];
  const home = new RelayHome(t, name);
  const yaml = `links:\n  - { name: phones, kind: cot, listen: "127.0.0.1:${phones}", tls: true }\n`;
  home.configure(api, yaml, `tls: "0.0.0.0:${tls}", enroll: "127.0.0.1:${enroll}"`);
  await home.start();
  return { home, phones, enroll, url: `https://127.0.0.1:${tls}` };
}

function ask({ home }: Box, method: string, path: string, body?: unknown) {
  return askSocket(home, method, path, body);
}

/** Both are partners, and have swapped secrets. */
async function pair(a: Box, b: Box): Promise<void> {
  const told = async (of: Box) => {
    const { json } = await ask(of, 'POST', '/api/federation/certificate', {});
    const { this_box } = (await ask(of, 'GET', '/api/federation/partners')).json;
    return { pins: [`SHA256:${json.fingerprint}`], server_pin: this_box.server_pin, url: of.url };
  };
  const [ofA, ofB] = [await told(a), await told(b)];
  const atA = await ask(a, 'POST', '/api/federation/partners', { name: 'bravo', ...ofB });
  const atB = await ask(b, 'POST', '/api/federation/partners', { name: 'alpha', ...ofA });
  await ask(a, 'PATCH', '/api/federation/partners/bravo', { secret: atB.json.inbound_secret });
  await ask(b, 'PATCH', '/api/federation/partners/alpha', { secret: atA.json.inbound_secret });
}

/** A phone's certificate, as openssl and curl get one by enrolling. */
async function enrolled({ home, enroll }: Box, name: string): Promise<{ readonly cert: string; readonly key: string }> {
  const added = await home.command('phone', 'add', name, '--team', 'Cyan', '--json');
  const { code } = JSON.parse(added) as { code: string };
  const key = home.file(`${name}.key`);
  const args = ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-subj', '/CN=me'];
  const csr = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const url = `https://127.0.0.1:${enroll}/Marti/api/tls/signClient/v2?clientUid=ANDROID-1`;
  const { json, text } = await curl('-k', '--retry', '0', '-u', `${name}:${code}`, '--data-binary', csr, url);
  assert.ok(json, text);
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${json.signedCert}\n-----END CERTIFICATE-----\n`,
    key: readFileSync(key, 'utf8'),
  };
}

test('G5: a phone is handed over to another box', { skip: noCurl }, async (t) => {
  const [a, b] = await Promise.all([box(t, 'box-a'), box(t, 'box-b')]);
  await pair(a, b);
  const unit = await enrolled(a, 'Victor');
  const cas = { a: await a.home.command('cert', 'show', '--ca'), b: await b.home.command('cert', 'show', '--ca') };
  const comes = (to: Box, ca: string) => phone(t, { port: to.phones, tls: { ...unit, ca } });
  const units = async (of: Box) => (await of.home.status()).units;

  await t.test('before, it is at home here and a stranger there', async () => {
    (await comes(a, cas.a)).send(sa('VICTOR-1', 'VICTOR', Date.now()));
    await a.home.until((status) => status.units === 1, 'the phone');
    await comes(b, cas.b).catch(() => {});
    await b.home.until(({ links }) => (links[0]?.refusals.unknown_ca ?? 0) > 0, 'its refusal');
  });

  await t.test('moved: let in there at once with the certificate it has, invited there, marked here', async () => {
    const said = await a.home.command('phone', 'move', 'Victor', '--to', 'bravo');
    assert.match(said, /^Victor is known at bravo as Victor, .*https?:\/\/\S+\/join\/\S+ \(code [\w-]{19}\)/);
    (await comes(b, cas.b)).send(sa('VICTOR-1', 'VICTOR', Date.now()));
    await b.home.until((status) => status.units === 1, 'the phone');
    assert.match(await a.home.command('phone', 'list'), /Victor +main +Cyan +moved to bravo/);
    assert.match(await b.home.command('phone', 'list'), /Victor +main +Cyan +here now/);
    const asked = (await ask(b, 'GET', '/api/audit?kind=request&limit=50')).json.entries;
    assert.ok(
      asked.some(({ action, detail }: { action: string; detail: string }) =>
        `${action} ${detail}`.includes('Federation.RemoteRequest POST /api/federation/handover'),
      ),
    );
    const { entries } = (await ask(b, 'GET', '/api/audit?kind=change&limit=50')).json;
    assert.ok(
      entries.some(({ action, who }: { action: string; who: string }) => action === 'phone_adopted' && who === 'alpha'),
    );
  });

  await t.test('told twice, it is refused in words', async () => {
    const again = await ask(a, 'POST', '/api/phones/Victor/move', { to: 'bravo' });
    assert.deepEqual([again.status, again.json.code], [409, 'phone_exists']);
    assert.match(again.json.detail, /^bravo: a phone with this certificate is here already/);
  });

  await t.test(
    'it is let in after a restart; revoked there, it is cut off and cannot be handed over again',
    async () => {
      await b.home.kill('SIGTERM');
      await b.home.start();
      const client = await comes(b, cas.b);
      client.send(sa('VICTOR-1', 'VICTOR', Date.now()));
      await b.home.until((status) => status.units === 1, 'the phone');
      await b.home.command('phone', 'revoke', 'Victor');
      while (!client.closed) await new Promise((done) => setTimeout(done, 20));
      assert.equal((await ask(a, 'POST', '/api/phones/Victor/move', { to: 'bravo' })).json.code, 'phone_exists');
      assert.equal(await units(a), 1, 'here it still is');
    },
  );

  await t.test('who has not the two factors cannot hand over, whatever he has', async () => {
    const url = `${b.url}/api/federation/handover`;
    const json = ['-H', 'Content-Type: application/json', '-d', '{"token":"e30.e30"}'];
    const { status, json: told } = await curl('-k', '--retry', '0', ...json, url);
    assert.deepEqual([status, told.code], [403, 'certificate_needed']);
  });
});
