// Files between phones here and TAK Servers that federate by v2: announced and brought as TAK Server does it, to and from peers that share
// no code with us; and through federation to another Waystation, which gets all that the phone said.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { phone } from '../support/cot-client.ts';
import { noCurl } from '../support/curl.ts';
import { announcement, curlNow, receipt, sha, urlIn } from '../support/file-share.ts';
import { makePair } from '../support/peers/certs.ts';
import { hasStack, type Line, type Stack, startPeer } from '../support/peers/spawn.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const isRol = (verb: string) => (line: Line) => line.at === 'rol' && String(line.program).startsWith(verb);
const parameters = (line: Line) =>
  JSON.parse(
    String(line.program)
      .replace(/^\w+ \w+\s*/, '')
      .replace(/;$/, ''),
  );
const payloads = (line: Line) => line.payload as { bytes: number; sha256: string }[];

/** A TAK Server that dials `port`. */
async function takServer(t: TestContext, stack: Stack, port: number, caPem: string, pair: ReturnType<typeof makePair>) {
  const { chainPem, keyPem } = pair;
  const flags = { 'server-id': `TAK-${stack}`, 'health-ms': 300, 'retry-ms': 300 };
  const authority: Record<string, string> = stack === 'python' ? { authority: 'box-a' } : {};
  const given = { stack, as: 'takserver', role: 'client', port, chainPem, keyPem, caPem } as const;
  const peer = await startPeer(t, { ...given, flags: { ...flags, ...authority } });
  await peer.waitFor({ at: 'rpc', method: 'ClientROLStream' });
  return peer;
}

for (const stack of ['grpcjs', 'python'] as const) {
  test(`files to and from a TAK Server (${stack}), and on to another box`, { skip: noCurl }, async (t) => {
    if (!hasStack(t, stack)) return;
    const [aApi, bApi, fed, aTcp, bTcp, aFiles, bFiles] = (await freePorts(7)) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const [a, b] = [new RelayHome(t, 'box-a'), new RelayHome(t, 'box-b')];
    const pair = makePair('county-tak');
    const phones = (port: number) => `  - { name: phones, kind: cot, listen: "127.0.0.1:${port}" }\n`;
    a.configure(
      aApi,
      `trust: [tak.pem, b.pem]\nfiles: { listen: "127.0.0.1:${aFiles}", max_file: 2000000 }\nlinks:\n  - { name: federation, kind: fed2, listen: "127.0.0.1:${fed}" }\n${phones(aTcp)}`,
    );
    b.configure(
      bApi,
      `trust: [a.pem]\nfiles: { listen: "127.0.0.1:${bFiles}" }\nlinks:\n  - { name: up, kind: fed2, connect: "127.0.0.1:${fed}" }\n${phones(bTcp)}`,
    );
    writeFileSync(a.file('tak.pem'), pair.caPem);
    writeFileSync(a.file('b.pem'), '');
    writeFileSync(b.file('a.pem'), '');
    const aCa = await a.command('cert', 'show', '--ca').catch(() => '');
    writeFileSync(b.file('a.pem'), aCa);
    writeFileSync(a.file('b.pem'), await b.command('cert', 'show', '--ca'));
    await Promise.all([a.start(), b.start()]);
    const tak = await takServer(t, stack, fed, aCa, pair);
    await a.until(
      ({ peers }) => peers.filter(({ kind, connected }) => kind === 'fed2' && connected).length === 2,
      'both',
    );
    const [pa, pb] = [await phone(t, { port: aTcp }), await phone(t, { port: bTcp })];
    pa.announce('ANDROID-a', 'ALPHA');
    pb.announce('ANDROID-b', 'BRAVO');
    tak.send({ do: 'contact', contact: { uid: 'ANDROID-t', callsign: 'TANGO' } });
    await Promise.all([
      pa.withUid('ANDROID-b'),
      pb.withUid('ANDROID-a'),
      tak.waitFor({ at: 'event', uid: 'ANDROID-a' }),
    ]);
    await a.until(({ contacts }) => contacts === 3, 'all three contacts');

    const bring = (name: string, bytes: Buffer) => {
      writeFileSync(a.file(name), bytes);
      const url = `http://127.0.0.1:${aFiles}/Marti/sync/missionupload?hash=${sha(bytes)}&filename=${name}`;
      const answer = curlNow('-F', `assetfile=@${a.file(name)}`, url);
      assert.equal(answer.status, 200, answer.body);
      return answer.body;
    };

    await t.test('a phone’s file: first the file, then who it is for; never an event', async () => {
      const photo = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), randomBytes(700_000)]);
      pa.send(announcement('ALPHA', 'TANGO', bring('photo.jpg', photo), { name: 'photo.jpg', bytes: photo }));
      const announced = await tak.waitFor(isRol('announce package'));
      const created = tak.all(isRol('create resource'))[0]!;
      assert.ok(tak.lines.indexOf(created) < tak.lines.indexOf(announced));
      assert.deepEqual(
        payloads(created).map(({ bytes, sha256 }) => [bytes, sha256]),
        [[photo.length, sha(photo)]],
      );
      const { hash, size, filename, mimeType, keywords } = parameters(created);
      assert.deepEqual([hash, size, filename, mimeType], [sha(photo), photo.length, 'photo.jpg', 'image/jpeg']);
      assert.deepEqual(keywords, ['missionpackage']);
      const said = parameters(announced);
      assert.deepEqual([said.sha256, said.sizeInBytes, said.senderCallsign], [sha(photo), photo.length, 'ALPHA']);
      assert.deepEqual(JSON.parse(said.senderUid).callsigns, ['TANGO']);
      assert.deepEqual(tak.violations(), []);
      const { files } = await a.status();
      const out = files!.transfers.find(({ direction, state }) => direction === 'out' && state === 'whole')!;
      assert.deepEqual([out.name, out.got], ['photo.jpg', photo.length]);
      // The same file for him once more: the words again, the bytes not.
      pa.send(announcement('ALPHA', 'TANGO', urlOf(aFiles, photo), { name: 'photo.jpg', bytes: photo }));
      await tak.waitFor((line) => isRol('announce package')(line) && line !== announced);
      assert.equal(tak.all(isRol('create resource')).length, 1);
    });

    await t.test('another Waystation gets the announcement whole, and the receipt comes back', async () => {
      const note = Buffer.from(`a note ${stack}`);
      pa.send(announcement('ALPHA', 'BRAVO', bring('note.txt', note), { name: 'note.txt', bytes: note }));
      const event = await pb.waitFor(
        (text) => text.includes('b-f-t-r') && text.includes(sha(note)),
        'the announcement',
      );
      assert.match(event, /<ackrequest uid="ack-1" ackrequested="true" tag="note.txt"\/>/);
      assert.match(event, /senderUid="ANDROID-a" senderCallsign="ALPHA"/);
      assert.equal(urlIn(event), urlOf(bFiles, note));
      const got = curlNow(urlIn(event));
      assert.deepEqual([got.status, got.body], [200, String(note)]);
      pb.send(receipt('ALPHA', true));
      await pa.waitFor((text) => text.includes('b-f-t-a') && text.includes('success="true"'), 'the receipt');
    });

    const theirs = (bytes: Buffer, to: string, more: object = {}) => {
      const payload = [{ base64: bytes.toString('base64') }];
      const words = {
        filename: 'plan.bin',
        keywords: ['missionpackage'],
        mimeType: 'application/octet-stream',
        name: 'plan',
        hash: sha(bytes),
        size: bytes.length,
        ...more,
      };
      tak.send({ do: 'rol', rol: { program: `create resource\n${JSON.stringify(words)};`, payload } });
      const said = {
        type: 'ResourceDetails',
        sha256: words.hash,
        senderUid: JSON.stringify({ callsigns: [to], uids: [] }),
        name: 'plan',
        filename: 'plan.bin',
        senderUrl: '',
        tsStored: Date.now(),
        senderCallsign: 'TANGO',
        sizeInBytes: bytes.length,
      };
      tak.send({ do: 'rol', rol: { program: `announce package\n${JSON.stringify(said)};` } });
    };
    const announcedTo = (at: typeof pa, hash: string) =>
      at.waitFor((text) => text.includes('b-f-t-r') && text.includes(hash), 'the announcement');

    await t.test('a TAK Server’s file reaches a phone here and one behind the other box', async () => {
      for (const [at, to, files] of [
        [pa, 'ALPHA', aFiles],
        [pb, 'BRAVO', bFiles],
      ] as const) {
        const plan = randomBytes(300_000);
        theirs(plan, to);
        const event = await announcedTo(at, sha(plan));
        assert.equal(urlIn(event), urlOf(files, plan));
        assert.match(event, new RegExp(`sizeInBytes="${plan.length}"`));
        assert.equal(curlNow('-o', a.file('plan'), urlIn(event)).status, 200);
        assert.deepEqual(readFileSync(a.file('plan')), plan);
      }
      assert.equal((await a.status()).files!.transfers.filter(({ peer }) => peer === 'county-tak').length, 3);
    });

    await t.test('what lies in its hash, bursts, or is too large is not kept, and counted', async () => {
      const counted = (code: string) => a.until(({ files }) => (files!.refused[code] ?? 0) > 0, code);
      const file = randomBytes(1_000);
      theirs(file, 'ALPHA', { hash: 'ab'.repeat(32) });
      await counted('hash_wrong');
      theirs(randomBytes(2_000_001), 'ALPHA');
      await counted('file_too_large');
      theirs(Buffer.from('PK\u0003\u0004 no zip'), 'ALPHA', { filename: 'bad.zip' });
      await counted('type_wrong');
      assert.equal(curlNow(urlOf(aFiles, file)).status, 404);
    });

    await t.test('an announcement without a file that could be had is not passed on, and counted', async () => {
      const nowhere = randomBytes(100);
      const before = tak.all(isRol('announce package')).length;
      pa.send(announcement('ALPHA', 'TANGO', 'https://192.0.2.9:8443/x', { name: 'no.bin', bytes: nowhere }));
      await a.until(
        ({ peers }) =>
          peers.some(
            ({ kind, lanes }) => kind === 'fed2' && lanes.some(({ dropped }) => (dropped.unsupported ?? 0) > 0),
          ),
        'the count',
      );
      assert.equal(tak.all(isRol('announce package')).length, before);
    });
  });
}

const urlOf = (port: number, bytes: Buffer) => `http://127.0.0.1:${port}/Marti/sync/content?hash=${sha(bytes)}`;
