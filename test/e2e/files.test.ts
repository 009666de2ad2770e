// Phones bring and fetch files at a real relay, by the real curl: over TLS with a certificate of the box, and plain.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { phone } from '../support/cot-client.ts';
import { noCurl } from '../support/curl.ts';
import { type Answer, curlNow, sha } from '../support/file-share.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const PHOTO = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), randomBytes(300_000)]);

async function box(t: TestContext, more = '', policy = '') {
  const home = new RelayHome(t, 'files');
  const [api, tcp, tls, plain, secure] = (await freePorts(5)) as [number, number, number, number, number];
  home.configure(
    api,
    `files: { listen: "127.0.0.1:${plain}", tls: "127.0.0.1:${secure}"${more} }\nlinks:\n  - { name: tcp, kind: cot, listen: "127.0.0.1:${tcp}"${policy} }\n  - { name: tls, kind: cot, listen: "127.0.0.1:${tls}", tls: true }\n`,
  );
  await home.start();
  return { home, tcp, tls, plain: `http://127.0.0.1:${plain}`, secure: `https://127.0.0.1:${secure}` };
}

test('phones bring and fetch files', { skip: noCurl }, async (t) => {
  const { home, plain, secure, tcp } = await box(t, ', max_file: 1000000, quota: 3000000');
  const stored = join(home.folder, 'data/files');
  const photo = home.file('photo.jpg');
  writeFileSync(photo, PHOTO);
  const hash = sha(PHOTO);
  const bring = (base: string, file: string, query: string, ...more: string[]) =>
    curlNow(...more, '-F', `assetfile=@${file}`, `${base}/Marti/sync/missionupload?${query}`);

  await t.test('as ATAK does it: asked for, brought, fetched, hash for hash', () => {
    assert.equal(curlNow(`${plain}/Marti/sync/missionquery?hash=${hash}`).status, 404);
    const answer = bring(plain, photo, `hash=${hash}&filename=photo.jpg&creatorUid=ANDROID-1`);
    assert.deepEqual(answer, { status: 200, body: `${plain}/Marti/sync/content?hash=${hash}` });
    assert.equal(curlNow(`${plain}/Marti/sync/missionquery?hash=${hash}`).body, answer.body);
    const out = home.file('out.jpg');
    assert.equal(curlNow('-o', out, answer.body).status, 200);
    assert.deepEqual(readFileSync(out), PHOTO);
  });

  await t.test('a download goes on where it ended', () => {
    const out = home.file('part.jpg');
    writeFileSync(out, PHOTO.subarray(0, 100_000));
    assert.equal(curlNow('-C', '-', '-o', out, `${plain}/Marti/sync/content?hash=${hash}`).status, 206);
    assert.deepEqual(readFileSync(out), PHOTO);
    const head = String(spawnSync('curl', ['-sI', `${plain}/Marti/sync/content?hash=${hash}`]).stdout);
    assert.match(head, /200 OK[\s\S]*content-length: 300004/i);
    assert.equal(curlNow('-r', '400000-', `${plain}/Marti/sync/content?hash=${hash}`).status, 416);
    assert.equal(curlNow('-r', '-4', '-o', out, `${plain}/Marti/sync/content?hash=${hash}`).status, 206);
    assert.deepEqual(readFileSync(out), PHOTO.subarray(-4));
  });

  await t.test('is listed only once it is public, which only who brought it can make it', () => {
    const list = () => JSON.parse(curlNow(`${plain}/Marti/sync/search?keywords=missionpackage`).body);
    assert.deepEqual(list(), { resultCount: 0, results: [] });
    assert.equal(curlNow('-X', 'PUT', '-d', 'public', `${plain}/Marti/api/sync/metadata/${hash}/tool`).status, 200);
    const [entry] = list().results;
    assert.deepEqual([entry.Name, entry.Hash, entry.Size, entry.CreatorUid], ['photo.jpg', hash, 300_004, 'ANDROID-1']);
    assert.equal(JSON.parse(curlNow(`${plain}/Marti/sync/metadata?hash=${hash}`).body).MIMEType, 'image/jpeg');
  });

  await t.test('Enterprise Sync: the bare body', () => {
    const answer = curlNow(
      '--data-binary',
      '@-',
      '-H',
      'content-type: text/plain',
      `${plain}/Marti/sync/upload?name=a.txt`,
    );
    assert.equal(answer.status, 400, 'an empty body is no file');
    writeFileSync(home.file('note'), 'a note');
    const note = curlNow('--data-binary', `@${home.file('note')}`, `${plain}/Marti/sync/upload?name=note.txt`);
    assert.equal(JSON.parse(note.body).Hash, sha('a note'));
  });

  await t.test('what lies is refused in words, and nothing of it stays', () => {
    const before = readdirSync(stored).length;
    const refusal = (answer: Answer) => [answer.status, JSON.parse(answer.body).code];
    assert.deepEqual(refusal(bring(plain, photo, `hash=${sha('else')}&filename=photo.jpg`)), [400, 'hash_wrong']);
    assert.deepEqual(refusal(bring(plain, photo, 'hash=../../etc&filename=photo.jpg')), [400, 'bad_hash']);
    assert.deepEqual(refusal(bring(plain, photo, 'filename=photo.png')), [415, 'type_wrong']);
    writeFileSync(home.file('big'), Buffer.alloc(1_000_001));
    assert.deepEqual(refusal(bring(plain, home.file('big'), 'filename=big')), [413, 'file_too_large']);
    execFileSync('truncate', ['-s', '10G', home.file('huge')]);
    assert.deepEqual(refusal(bring(plain, home.file('huge'), 'filename=huge')), [413, 'file_too_large']);
    // Without a length, and never ending.
    const endless = spawnSync('bash', [
      '-c',
      `cat /dev/zero | curl -sS -m 60 -T - -X POST '${plain}/Marti/sync/upload?name=zeros'`,
    ]);
    assert.match(String(endless.stdout), /file_too_large/);
    assert.deepEqual(refusal(curlNow('-F', 'x=1', `${plain}/Marti/sync/missionupload?filename=a`)), [
      400,
      'bad_request',
    ]);
    assert.deepEqual(
      refusal(curlNow('-H', 'content-type: multipart/form-data', '-d', 'x', `${plain}/Marti/sync/missionupload`)),
      [400, 'bad_request'],
    );
    assert.equal(readdirSync(stored).length, before);
    assert.deepEqual(readdirSync(join(stored, 'incoming')), []);
  });

  await t.test('paths lead nowhere else, and pages of the web have no business here', () => {
    for (const path of [
      '/Marti/sync/content?hash=../identity',
      '/../identity',
      '/Marti/sync/content?hash=%2e%2e',
      '//x',
      '/',
    ])
      assert.ok(curlNow('--path-as-is', `${plain}${path}`).status >= 400, path);
    assert.equal(curlNow('-H', 'Origin: http://evil.example', `${plain}/Marti/api/version`).status, 403);
    assert.equal(curlNow('-X', 'DELETE', `${plain}/Marti/sync/content?hash=${hash}`).status, 405);
    assert.equal(curlNow(`${plain}/api/status`).status, 404);
  });

  await t.test('TLS: whoever holds a certificate of this box, and nobody else', async () => {
    assert.equal(JSON.parse(curlNow('-k', `${secure}/Marti/api/version/config`).body).code, 'no_certificate');
    const key = home.file('foreign.key');
    const cert = home.file('foreign.pem');
    const subject = ['-subj', '/CN=ALPHA', '-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject], {
      stdio: 'ignore',
    });
    assert.equal(curlNow('-k', '--cert', cert, '--key', key, `${secure}/Marti/api/version`).status, 401);
    const own = home.file('issued');
    await home.command('cert', 'issue', 'ALPHA', '--out', own);
    const [ca, pem, keyFile] = ['ALPHA-ca.pem', 'ALPHA.pem', 'ALPHA.key'].map((name) => join(own, name)) as [
      string,
      string,
      string,
    ];
    const with_ = ['--cacert', ca, '--cert', pem, '--key', keyFile];
    assert.equal(curlNow(...with_, `${secure}/Marti/api/version`).status, 200);
    writeFileSync(home.file('tls.txt'), 'over TLS');
    assert.match(bring(secure, home.file('tls.txt'), 'filename=tls.txt', ...with_).body, /^https:/);
    const described = curlNow(...with_, `${secure}/Marti/sync/metadata?hash=${sha('over TLS')}`);
    assert.equal(JSON.parse(described.body).SubmissionUser, 'ALPHA');
  });

  await t.test('contacts: those whom the stream of the same phone may know of', async () => {
    assert.deepEqual(JSON.parse(curlNow(`${plain}/Marti/api/contacts/all`).body), []);
    const one = await phone(t, { port: tcp });
    one.announce('ANDROID-1', 'ALPHA');
    await home.until(({ contacts }) => contacts === 1, 'the contact');
    const [contact] = JSON.parse(curlNow(`${plain}/Marti/api/contacts/all`).body);
    assert.deepEqual([contact.uid, contact.callsign, contact.team], ['ANDROID-1', 'ALPHA', 'Blue']);
    const { data } = JSON.parse(curlNow(`${plain}/Marti/api/clientEndPoints`).body);
    assert.deepEqual([data[0].uid, data[0].lastStatus], ['ANDROID-1', 'Connected']);
    assert.equal(JSON.parse(curlNow(`${plain}/Marti/api/groups/all`).body).version, '3');
  });

  await t.test('an upload that breaks off leaves nothing', async () => {
    const { port } = new URL(plain);
    await new Promise<void>((resolve) => {
      const half = request({
        port,
        method: 'POST',
        path: '/Marti/sync/upload?name=half',
        headers: { 'content-length': 9999 },
      });
      half.on('error', () => resolve());
      half.write('half');
      setTimeout(() => half.destroy(), 200);
    });
    const empty = async () => {
      for (let tries = 0; readdirSync(join(stored, 'incoming')).length > 0; tries++) {
        assert.ok(tries < 200, 'something is left in incoming');
        await new Promise((done) => setTimeout(done, 50));
      }
    };
    await empty();
  });

  await t.test('the status counts, and the files survive a restart', async () => {
    const { files } = await home.status();
    assert.ok(
      files && files.files === 3 && files.refused.hash_wrong === 1 && files.quota === 3_000_000,
      JSON.stringify(files),
    );
    await home.kill('SIGKILL');
    await home.start();
    const out = home.file('again.jpg');
    assert.equal(curlNow('-o', out, `${plain}/Marti/sync/content?hash=${hash}`).status, 200);
    assert.deepEqual(readFileSync(out), PHOTO);
  });
});

test('dp_in and dp_out hold whatever events may do', { skip: noCurl }, async (t) => {
  const { home, plain, tcp } = await box(t, '', ', policy: { dp_in: false, dp_out: false }');
  const one = await phone(t, { port: tcp });
  one.announce('ANDROID-1', 'ALPHA');
  await home.until(({ contacts }) => contacts === 1, 'the contact');
  writeFileSync(home.file('a'), 'abc');
  const answer = curlNow('-F', `assetfile=@${home.file('a')}`, `${plain}/Marti/sync/missionupload?filename=a`);
  assert.deepEqual([answer.status, JSON.parse(answer.body).code], [403, 'filtered']);
  assert.equal(curlNow(`${plain}/Marti/sync/content?hash=${sha('abc')}`).status, 403);
});
