// The shelf alone: what is taken in, what is refused, who makes room for whom. Zips are made by python's zipfile, and by hand.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { cleanFileName } from '../../src/files/kind.ts';
import { FileRefusal } from '../../src/files/refusal.ts';
import { MAX_UPLOADS, RESERVE_BYTES, Shelf, type ShelfLimits } from '../../src/files/shelf.ts';
import { isSafeName } from '../../src/files/zip.ts';
import { ManualClock } from '../../src/lib/clock.ts';

const HOUR_MS = 3_600_000;
const LIMITS: ShelfLimits = { fileBytes: 1_000_000, bytes: 4_000_000, ageMs: 72 * HOUR_MS };
const noPython = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not installed';

function bench(t: TestContext, limits = LIMITS, free = 10 * RESERVE_BYTES) {
  const dir = mkdtempSync(join(tmpdir(), 'waystation-shelf-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const disk = { free };
  const make = () => {
    const shelf = new Shelf({ dir, limits, clock, free: () => disk.free });
    shelf.open();
    return shelf;
  };
  return { dir, clock, disk, make, shelf: make() };
}

const claim = (name: string, uploader = 'alpha') => ({ name, uploader, creatorUid: 'ANDROID-1', keywords: [] });

async function* chunks(...list: readonly (Buffer | string)[]): AsyncIterable<Buffer> {
  for (const chunk of list) yield Buffer.from(chunk);
}

type Refused = (error: unknown) => boolean;
const refused =
  (code: string): Refused =>
  (error) =>
    error instanceof FileRefusal && error.code === code;
const sha = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');

/** A zip as python makes it. */
function zip(script: string): Buffer {
  const head = 'import sys,zipfile,io\nb=io.BytesIO()\nz=zipfile.ZipFile(b,"w",zipfile.ZIP_DEFLATED)\n';
  const { stdout, status, stderr } = spawnSync(
    'python3',
    ['-c', `${head}${script}\nz.close()\nsys.stdout.buffer.write(b.getvalue())`],
    { maxBuffer: 1 << 28 },
  );
  assert.equal(status, 0, String(stderr));
  return stdout;
}

test('what is taken in is kept by its hash, over a restart, and goes when it is old', async (t) => {
  const { shelf, make, clock, dir } = bench(t);
  const file = await shelf.take(chunks('ab', 'c'), claim('../../etc/notes.txt'));
  assert.equal(file.hash, sha('abc'));
  assert.deepEqual([file.name, file.size, file.uploader, file.isPublic], ['notes.txt', 3, 'alpha', false]);
  const again = make();
  assert.deepEqual(again.get(file.hash), file);
  assert.equal(readFileSync(again.pathOf(file.hash), 'utf8'), 'abc');
  clock.advance(73 * HOUR_MS);
  again.sweep();
  assert.equal(again.get(file.hash), undefined);
  assert.deepEqual(readdirSync(dir), ['incoming']);
});

test('nothing is left of what lies, is empty, too large, or breaks off', async (t) => {
  const { shelf, dir } = bench(t);
  const broken = async function* () {
    yield Buffer.from('half');
    throw new Error('cut');
  };
  const cases: readonly (readonly [string, AsyncIterable<Buffer>, Parameters<Shelf['take']>[1], Refused])[] = [
    ['a hash that is not its own', chunks('abc'), { ...claim('a.txt'), hash: sha('abd') }, refused('hash_wrong')],
    ['a size that is not its own', chunks('abc'), { ...claim('a.txt'), size: 4 }, refused('size_wrong')],
    ['no byte', chunks(), claim('a.txt'), refused('empty')],
    ['a byte more than a file may have', chunks(Buffer.alloc(1_000_001)), claim('a.txt'), refused('file_too_large')],
    ['10 GB, by what it says', chunks('x'), { ...claim('a.txt'), size: 1e10 }, refused('file_too_large')],
    ['half a file', broken(), claim('a.txt'), (error) => /cut/.test(String(error))],
    ['an image that is none', chunks('no image'), claim('a.jpg'), refused('type_wrong')],
    ['a zip that is none', chunks('no zip'), claim('a.zip'), refused('type_wrong')],
    ['a PDF that is none', chunks('%PPT'), claim('a.pdf'), refused('type_wrong')],
  ];
  for (const [what, source, of, is] of cases) await t.test(what, () => assert.rejects(shelf.take(source, of), is));
  assert.deepEqual([shelf.list(), readdirSync(join(dir, 'incoming'))], [[], []]);
  assert.deepEqual(readdirSync(dir), ['incoming']);
});

test('10 GB without a word of it: ended at the limit, not at its end', async (t) => {
  const { shelf } = bench(t);
  let given = 0;
  const endless = async function* () {
    for (;;) {
      given += 65_536;
      yield Buffer.alloc(65_536);
    }
  };
  await assert.rejects(shelf.take(endless(), claim('a.bin')), refused('file_too_large'));
  assert.ok(given <= LIMITS.fileBytes + 2 * 65_536, String(given));
});

test('a full disk refuses, and so many uploads at once', async (t) => {
  const { shelf, disk } = bench(t);
  disk.free = RESERVE_BYTES;
  await assert.rejects(shelf.take(chunks('abc'), claim('a')), refused('disk_full'));
  disk.free = 10 * RESERVE_BYTES;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow = async function* () {
    await held;
    yield Buffer.from('slow');
  };
  const under = Array.from({ length: MAX_UPLOADS }, () => shelf.take(slow(), claim('slow')));
  await assert.rejects(shelf.take(chunks('abc'), claim('a')), refused('too_many_uploads'));
  release();
  await Promise.all(under);
  await shelf.take(chunks('abc'), claim('a'));
});

test('quota exhaustion: who fills the shelf pushes out his own files, not those of others', async (t) => {
  const { shelf, clock } = bench(t);
  const photo = await shelf.take(chunks('the photo'), claim('photo', 'bravo'));
  for (let index = 0; index < 12; index++) {
    clock.advance(1_000);
    const bytes = Buffer.alloc(900_000, index);
    await shelf.take(chunks(bytes), claim(`flood-${index}`, 'mallory'));
    assert.ok(shelf.bytes <= LIMITS.bytes);
  }
  assert.ok(shelf.get(photo.hash), 'the photo of another is still there');
  assert.equal(shelf.list().filter(({ uploader }) => uploader === 'mallory').length, 2);
});

test('the same bytes under another name stay what they are', async (t) => {
  const { shelf } = bench(t);
  const first = await shelf.take(chunks('abc'), claim('mine.txt', 'alpha'));
  await shelf.take(chunks('abc'), claim('yours.txt', 'mallory'));
  assert.equal(shelf.get(first.hash)?.name, 'mine.txt');
  assert.equal(shelf.get(first.hash)?.uploader, 'alpha');
});

test('a file that was cut on the disk is not there after a restart', async (t) => {
  const { shelf, make, dir } = bench(t);
  const { hash } = await shelf.take(chunks('abcdef'), claim('a.txt'));
  truncateSync(shelf.pathOf(hash), 3);
  writeFileSync(join(dir, 'stranger'), 'x');
  const again = make();
  assert.equal(again.get(hash), undefined);
  assert.ok(!existsSync(again.pathOf(hash)) && !existsSync(join(dir, 'stranger')));
});

test('zip slip, bombs and other zips that are not safe are refused; those that are, taken', {
  skip: noPython,
}, async (t) => {
  const { shelf } = bench(t, { ...LIMITS, fileBytes: 20_000_000, bytes: 40_000_000 });
  const take = (bytes: Buffer, name = 'package.zip') => shelf.take(chunks(bytes), claim(name));
  const good = zip(
    'z.writestr("MANIFEST/manifest.xml","<MissionPackageManifest/>")\nz.writestr("0f/photo.jpg",b"\\xff\\xd8\\xff"*99)',
  );
  assert.equal((await take(good)).mime, 'application/zip');
  const bad: Readonly<Record<string, string>> = {
    'a step up': 'z.writestr("../../../data/evil.xml","x")',
    'a step up inside': 'z.writestr("a/../../b","x")',
    absolute: 'z.writestr("/etc/passwd","x")',
    backslash: 'i=zipfile.ZipInfo("x"); i.filename="..\\\\\\\\evil"; z.writestr(i,"x")',
    drive: 'z.writestr("C:evil","x")',
    'a link': 'i=zipfile.ZipInfo("link"); i.external_attr=0o120777<<16; z.writestr(i,"/etc/passwd")',
    'a bomb': 'z.writestr("zeros",b"\\0"*60_000_000)',
    'twice the same name': 'import warnings; warnings.simplefilter("ignore"); z.writestr("a","x"); z.writestr("a","y")',
    'two names of one case': 'z.writestr("a","x"); z.writestr("A","y")',
    'too many': '[z.writestr(str(n),"") for n in range(5000)]',
  };
  for (const [what, script] of Object.entries(bad)) {
    await t.test(what, () => assert.rejects(take(zip(script)), refused('zip_unsafe')));
  }
  // Without an ending it is looked at all the same.
  await assert.rejects(take(zip(bad['a step up']!), 'package'), refused('zip_unsafe'));
});

test('a zip whose entries share bytes, or whose list lies', { skip: noPython }, async (t) => {
  const { shelf } = bench(t);
  const good = zip('z.writestr("aa","x"*1000)\nz.writestr("bb","y"*1000)');
  const take = (bytes: Buffer) => shelf.take(chunks(bytes), claim('package.zip'));
  const directory = good.readUInt32LE(good.length - 6);
  const change = (make: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    make(bytes);
    return bytes;
  };
  const second = good.indexOf('bb', directory) - 46;
  const lies: Readonly<Record<string, Buffer>> = {
    'both at one place': change((bytes) => bytes.writeUInt32LE(0, second + 42)),
    'another name inside': change((bytes) => bytes.write('..', 30)),
    'packed size beyond the end': change((bytes) => bytes.writeUInt32LE(1 << 30, second + 20)),
    'list beyond the end': change((bytes) => bytes.writeUInt32LE(1 << 30, bytes.length - 6)),
    'more entries than there are': change((bytes) => bytes.writeUInt16LE(9, bytes.length - 12)),
    zip64: change((bytes) => bytes.writeUInt32LE(0xffffffff, second + 24)),
  };
  for (const [what, bytes] of Object.entries(lies)) {
    await t.test(what, () => assert.rejects(take(bytes), refused('zip_unsafe')));
  }
  for (let cut = 1; cut < good.length; cut += 7) {
    await assert.rejects(take(good.subarray(0, cut)), FileRefusal, `cut at ${cut}`);
  }
  await take(good);
});

test('names are safe wherever they go', () => {
  const name = cleanFileName('..\\..\\a"b\r\nSet-Cookie: x;.jpg');
  assert.ok(/^[^"\r\n;:/\\]+\.jpg$/.test(name), name);
  assert.equal(cleanFileName('...'), 'file');
  assert.equal(cleanFileName('.bashrc'), 'bashrc');
  assert.equal(cleanFileName('/'), 'file');
  assert.ok(cleanFileName('x'.repeat(5000)).length <= 200);
  for (const bad of ['', '/a', 'a/../b', '..', 'a\\b', 'a\0b', './a', 'c:a']) assert.equal(isSafeName(bad), false, bad);
  for (const good of ['a', 'a/b.jpg', 'MANIFEST/manifest.xml', 'dir/', '..a', 'größe.txt']) assert.ok(isSafeName(good));
});
