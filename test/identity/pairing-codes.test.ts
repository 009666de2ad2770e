// The code: readable, one at a time, good once, for a while, for few tries.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { CodeFile } from '../../src/identity/kept-code.ts';
import {
  CODE_LENGTH,
  CODE_LIFE_MS,
  PairingCodes,
  plainCode,
  TRIES_OF_ALL,
  TRIES_OF_ONE,
} from '../../src/identity/pairing-codes.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { LinkError } from '../../src/lib/errors.ts';

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return '';
  } catch (error) {
    assert.ok(error instanceof LinkError && error.message && error.fix);
    return error.code;
  }
};

test('eight characters that are not mistaken for each other, another one each time', () => {
  const codes = new PairingCodes<null>(new ManualClock());
  const made = new Set(Array.from({ length: 200 }, () => codes.make(null).code));
  assert.equal(made.size, 200);
  for (const code of made) assert.match(code, /^[2-9A-HJKMNP-TV-Z]{8}$/);
  assert.equal(CODE_LENGTH, 8);
});

test('typed as people type', () => {
  assert.equal(plainCode(' abcd-2345\n'), 'ABCD2345');
  assert.equal(plainCode('ab cd 23 45'), 'ABCD2345');
  for (const bad of ['', 'ABCD234', 'ABCD23456', 'ABCD234O', 'ABCD234ß', '🜁'.repeat(8)])
    assert.equal(plainCode(bad), '', bad);
});

test('good once', () => {
  const codes = new PairingCodes<string>(new ManualClock());
  codes.make('terms');
  const [one, two] = [codes.begin('10.0.0.1'), codes.begin('10.0.0.2')];
  assert.equal(one.terms, 'terms');
  assert.equal(one.claim(), true);
  assert.equal(two.claim(), false, 'the second who knows it is too late');
  assert.equal(one.claim(), false);
  assert.equal(codes.open, undefined);
  assert.equal(
    codeOf(() => codes.begin('10.0.0.1')),
    'no_code',
  );
});

test('a new one revokes the old, a cleared one is gone, also for tries under way', () => {
  const codes = new PairingCodes<null>(new ManualClock());
  codes.make(null);
  const old = codes.begin('10.0.0.1');
  const fresh = codes.make(null);
  assert.equal(old.claim(), false);
  assert.equal(codes.open?.code, fresh.code);
  const under = codes.begin('10.0.0.1');
  codes.clear();
  assert.equal(under.claim(), false);
});

test('it ends after 15 minutes, whatever is under way', () => {
  const clock = new ManualClock();
  const codes = new PairingCodes<null>(clock);
  codes.make(null);
  clock.advance(CODE_LIFE_MS - 1);
  const late = codes.begin('10.0.0.1');
  clock.advance(1);
  assert.equal(late.claim(), false);
  assert.equal(
    codeOf(() => codes.begin('10.0.0.1')),
    'no_code',
  );
});

test('few guesses for one source, and for all', () => {
  const codes = new PairingCodes<null>(new ManualClock());
  codes.make(null);
  for (let count = 0; count < TRIES_OF_ONE; count++) codes.begin('2001:db8::1');
  assert.equal(
    codeOf(() => codes.begin('2001:db8::ffff')),
    'too_many_codes',
    'the same household',
  );
  for (let count = TRIES_OF_ONE; count < TRIES_OF_ALL; count++) codes.begin(`10.0.0.${count}`);
  assert.equal(codes.open?.triesLeft, 0);
  assert.equal(
    codeOf(() => codes.begin('10.1.0.1')),
    'too_many_codes',
  );
  codes.make(null);
  codes.begin('2001:db8::1');
});

describe('over a restart', () => {
  const isTerms = (value: unknown): value is string => typeof value === 'string';
  function kept(t: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'code-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'code');
    const troubles: string[] = [];
    return {
      path,
      troubles,
      /** The relay, started at that wall time. */
      start: (wallMs: number) => {
        const clock = new ManualClock(wallMs);
        const keep = new CodeFile(path, isTerms, ({ message }) => troubles.push(message));
        return { clock, codes: new PairingCodes<string>(clock, keep) };
      },
    };
  }

  test('the code, its terms and the guesses against it are still there', (t) => {
    const { start, path } = kept(t);
    const before = start(1_000_000);
    const { code } = before.codes.make('terms');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    for (let count = 0; count < TRIES_OF_ONE; count++) before.codes.begin('10.0.0.1');
    const after = start(1_060_000);
    assert.deepEqual(after.codes.open, { code, terms: 'terms', endsMs: CODE_LIFE_MS - 60_000, triesLeft: 15 });
    assert.equal(
      codeOf(() => after.codes.begin('10.0.0.1')),
      'too_many_codes',
      'a restart gives no guesses away',
    );
    assert.equal(after.codes.begin('10.0.0.2').claim(), true);
    assert.equal(existsSync(path), false, 'used: gone from the disk');
    assert.equal(start(1_061_000).codes.open, undefined);
  });

  test('what ended while the relay was off is over, and leaves the disk without being asked for', (t) => {
    const { start, path } = kept(t);
    start(1_000_000).codes.make('terms');
    const late = start(1_000_000 + CODE_LIFE_MS);
    late.clock.advance(0);
    assert.equal(existsSync(path), false);
    assert.equal(late.codes.open, undefined);
    const { clock, codes } = start(1_000_000);
    codes.make('terms');
    clock.advance(CODE_LIFE_MS);
    assert.equal(existsSync(path), false, 'the same while it runs');
  });

  test('a clock that has gone back, or was set ahead, gives it no more time than it had left', (t) => {
    const { start } = kept(t);
    const before = start(1_000_000);
    before.codes.make('terms');
    before.clock.advance(600_000);
    before.codes.begin('10.0.0.1');
    assert.equal(start(0).codes.open?.endsMs, CODE_LIFE_MS - 600_000);
  });

  test('clearing it takes it off the disk; a new one takes its place', (t) => {
    const { start, path } = kept(t);
    const { codes } = start(0);
    const [old, fresh] = [codes.make('one').code, codes.make('two').code];
    assert.ok(!readFileSync(path, 'utf8').includes(old) && readFileSync(path, 'utf8').includes(fresh));
    codes.clear();
    assert.equal(existsSync(path), false);
  });

  test('a file that is none of ours is told and dropped', (t) => {
    const { start, path, troubles } = kept(t);
    const good = { code: 'ABCD2345', terms: 'x', endsAtMs: 9e15, notedAtMs: 0, leftMs: 60_000, tries: {} };
    const spoilt = [
      '',
      '{',
      'null',
      JSON.stringify({ ...good, code: 'abcd2345' }),
      JSON.stringify({ ...good, terms: 7 }),
      JSON.stringify({ ...good, leftMs: 'long' }),
      JSON.stringify({ ...good, tries: { a: -20 } }),
      'x'.repeat(70_000),
    ];
    for (const text of spoilt) {
      writeFileSync(path, text);
      assert.equal(start(0).codes.open, undefined, text.slice(0, 80));
      assert.equal(existsSync(path), false);
    }
    assert.equal(troubles.length, spoilt.length);
    writeFileSync(path, JSON.stringify(good));
    assert.equal(start(0).codes.open?.code, good.code);
  });

  test('a disk that cannot be written costs the restart, not the code', (t) => {
    const { troubles } = kept(t);
    const keep = new CodeFile('/nowhere/at/all', isTerms, ({ message }) => troubles.push(message));
    const codes = new PairingCodes<string>(new ManualClock(), keep);
    assert.ok(codes.make('terms').code);
    assert.ok(troubles.some((words) => words.includes('ENOENT')));
  });
});
