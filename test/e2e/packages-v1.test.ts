// Files between phones here and a TAK Server that federates by v1: HTTPS with the federation certificates, as TAK Server does it. The server
// is emulated in Python; strangers are tried with the real curl.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { phone } from '../support/cot-client.ts';
import { noCurl } from '../support/curl.ts';
import { announcement, curlNow, sha, urlIn } from '../support/file-share.ts';
import { makePair } from '../support/peers/certs.ts';
import { hasPython, startPeer } from '../support/peers/spawn.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

for (const role of ['client', 'server'] as const) {
  test(`files to and from a TAK Server of v1 (it is the ${role})`, { skip: noCurl }, async (t) => {
    if (!hasPython(t)) return;
    const [api, fed, tcp, files, federates, theirs] = (await freePorts(6)) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const home = new RelayHome(t, 'box');
    const pair = makePair('old-tak');
    const link = (policy = '') =>
      `links:\n  - { name: v1, kind: fed1, ${role === 'client' ? 'listen' : 'connect'}: "127.0.0.1:${fed}", files_port: ${theirs}${policy} }\n  - { name: phones, kind: cot, listen: "127.0.0.1:${tcp}" }\n`;
    const yaml = (policy = '') =>
      `trust: [tak.pem]\nfiles: { listen: "127.0.0.1:${files}", federates: "127.0.0.1:${federates}" }\n${link(policy)}`;
    home.configure(api, yaml());
    writeFileSync(home.file('tak.pem'), pair.caPem);
    const caPem = await home.command('cert', 'show', '--ca');
    const { chainPem, keyPem } = pair;
    const given = { stack: 'python', as: 'takserver1', role, port: fed, chainPem, keyPem, caPem } as const;
    const local = [{ uid: 'ANDROID-t', callsign: 'TANGO' }];
    const tak = await startPeer(t, { ...given, flags: { local, 'files-port': theirs, 'retry-ms': 300 } });
    await home.start();
    await tak.waitFor({ at: 'connected' });
    const pa = await phone(t, { port: tcp });
    pa.announce('ANDROID-a', 'ALPHA');
    await Promise.all([pa.withUid('ANDROID-t'), tak.waitFor({ at: 'event', uid: 'ANDROID-a' })]);
    const bring = (name: string, bytes: Buffer) => {
      writeFileSync(home.file(name), bytes);
      const url = `http://127.0.0.1:${files}/Marti/sync/missionupload?hash=${sha(bytes)}&filename=${name}`;
      const answer = curlNow('-F', `assetfile=@${home.file(name)}`, url);
      assert.equal(answer.status, 200, answer.body);
      return answer.body;
    };
    const share = (bytes: Buffer, filename: string, uid = 'ANDROID-t') =>
      tak.send({ do: 'share', uid, port: federates, filename, data: bytes.toString('base64'), to: ['ALPHA'] });

    await t.test('a phone’s file is brought there once, and announced with its address there', async () => {
      const photo = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), randomBytes(400_000)]);
      const url = bring('photo.jpg', photo);
      const there = `https://127.0.0.1:${theirs}/Marti/sync/content?hash=${sha(photo)}`;
      for (let times = 1; times <= 2; times++) {
        pa.send(
          announcement('ALPHA', 'TANGO', url, { name: 'photo.jpg', bytes: photo }).replace('share-', `n${times}-`),
        );
        const event = await tak.waitFor((line) => line.type === 'b-f-t-r' && String(line.uid).startsWith(`n${times}-`));
        assert.equal(urlIn(String(event.other)), there);
      }
      const [upload, ...more] = tak.all({ at: 'file', op: 'upload' });
      assert.deepEqual([upload!.hash, upload!.bytes, upload!.filename], [sha(photo), photo.length, 'photo.jpg']);
      assert.equal(more.length, 0);
      assert.deepEqual(tak.violations(), []);
    });

    await t.test('its file reaches a phone here, at this box', async () => {
      const plan = randomBytes(250_000);
      share(plan, 'plan.bin');
      const event = await pa.waitFor(
        (text) => text.includes('b-f-t-r') && text.includes(sha(plan)),
        'the announcement',
      );
      assert.equal(urlIn(event), `http://127.0.0.1:${files}/Marti/sync/content?hash=${sha(plan)}`);
      assert.equal(curlNow('-o', home.file('plan'), urlIn(event)).status, 200);
      assert.deepEqual(readFileSync(home.file('plan')), plan);
    });

    await t.test('what bursts is refused in words, and is not announced', async () => {
      share(Buffer.from('PK\u0003\u0004 no zip'), 'bad.zip', 'ANDROID-bad');
      const { status, text } = await tak.waitFor({ at: 'brought', method: 'POST', status: 415 });
      assert.deepEqual([status, JSON.parse(String(text)).code], [415, 'type_wrong']);
    });

    await t.test('no stranger is let in: without a certificate, with one of its own, with a phone’s', async () => {
      const at = (path: string, ...args: string[]) => curlNow('-k', ...args, `https://127.0.0.1:${federates}${path}`);
      const query = `/Marti/sync/missionquery?hash=${'ab'.repeat(32)}`;
      assert.equal(at(query).status, 401);
      const stranger = makePair('stranger');
      writeFileSync(home.file('s.pem'), stranger.chainPem);
      writeFileSync(home.file('s.key'), stranger.keyPem);
      assert.equal(at(query, '--cert', home.file('s.pem'), '--key', home.file('s.key')).status, 401);
      await home.command('cert', 'issue', 'ALPHA', '--out', home.file('issued'));
      const own = ['--cert', home.file('issued/ALPHA.pem'), '--key', home.file('issued/ALPHA.key')];
      assert.equal(at(query, ...own).status, 401);
      writeFileSync(home.file('t.pem'), chainPem);
      writeFileSync(home.file('t.key'), keyPem);
      const theirs = ['--cert', home.file('t.pem'), '--key', home.file('t.key')];
      assert.equal(at(query, ...theirs).status, 404);
      assert.equal(at('/Marti/api/contacts/all', ...theirs).status, 404);
      assert.equal(at('/Marti/sync/search', ...theirs).status, 404);
      const secret = Buffer.from('for nobody but phones');
      bring('secret.txt', secret);
      assert.equal(at(`/Marti/sync/content?hash=${sha(secret)}`, ...theirs).status, 403, 'it was not announced to it');
    });

    await t.test('a port that nobody answers at is shown, and the announcement goes as it came', async () => {
      await home.kill('SIGTERM');
      const [closed] = (await freePorts(1)) as [number];
      home.configure(api, yaml().replace(`files_port: ${theirs}`, `files_port: ${closed}`));
      await home.start();
      await home.until(({ peers }) => peers.some(({ kind, connected }) => kind === 'fed1' && connected), 'the server');
      const again = await phone(t, { port: tcp });
      again.announce('ANDROID-a', 'ALPHA-1');
      tak.send({ do: 'join', uid: 'ANDROID-t', callsign: 'TANGO' });
      await Promise.all([again.withUid('ANDROID-t'), tak.waitFor((line) => String(line.other).includes('ALPHA-1'))]);
      const note = Buffer.from('a note');
      const url = bring('note.txt', note);
      again.send(announcement('ALPHA-1', 'TANGO', url, { name: 'note.txt', bytes: note }));
      const event = await tak.waitFor((line) => line.type === 'b-f-t-r' && String(line.other).includes(sha(note)));
      assert.equal(urlIn(String(event.other)), url);
      const { warnings } = await home.status();
      assert.ok(
        warnings.some(({ words }) => words.includes(`127.0.0.1:${closed}`)),
        JSON.stringify(warnings),
      );
      again.close();
    });

    await t.test('dp_in and dp_out hold, whatever events may do', async () => {
      await home.kill('SIGTERM');
      home.configure(api, yaml(', policy: { dp_in: false, dp_out: false }'));
      await home.start();
      await home.until(({ peers }) => peers.some(({ kind, connected }) => kind === 'fed1' && connected), 'the server');
      const again = await phone(t, { port: tcp });
      again.announce('ANDROID-a', 'ALPHA-2');
      tak.send({ do: 'join', uid: 'ANDROID-t', callsign: 'TANGO' });
      await Promise.all([again.withUid('ANDROID-t'), tak.waitFor((line) => String(line.other).includes('ALPHA-2'))]);
      share(randomBytes(100), 'no.bin', 'ANDROID-no');
      await tak.waitFor({ at: 'brought', method: 'POST', status: 403 });
      const before = tak.all({ at: 'file' }).length;
      const secret = randomBytes(500);
      again.send(announcement('ALPHA-2', 'TANGO', bring('no.bin', secret), { name: 'no.bin', bytes: secret }));
      again.announce('ANDROID-a', 'ALPHA-3');
      await tak.waitFor((line) => String(line.other).includes('ALPHA-3'));
      assert.equal(tak.all({ at: 'file' }).length, before);
      assert.equal(tak.all((line) => String(line.other).includes(sha(secret))).length, 0);
    });
  });
}
