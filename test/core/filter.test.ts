// Rules about single messages: what each can say, and that what cannot be told is never let through.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Filter, fits, type Match, type Rule, type Subject, Thinner } from '../../src/core/filter.ts';
import { contradictions, covers } from '../../src/core/filter-check.ts';
import type { CotEvent, Message } from '../../src/core/message.ts';
import { isAlert, isUnit } from '../../src/core/policy.ts';
import { chat, position } from './support.ts';

const KINDS = { isAlert, isUnit };
const allow = (match: Match, at = 'allow'): Rule => ({ action: 'allow', at, match });
const deny = (match: Match, at = 'deny'): Rule => ({ action: 'deny', at, match });
const filter = (...rules: Rule[]) => new Filter(rules, KINDS);

const ofEvent = (event: CotEvent, over: Partial<Subject> = {}): Subject => ({
  message: { kind: 'event', event },
  groups: [],
  ageMs: 0,
  ...over,
});
const unit = (fields: Partial<CotEvent> = {}, over: Partial<Subject> = {}) => ofEvent(position('u', fields), over);
const contact = (over: Partial<Extract<Message, { kind: 'contact' }>> = {}, more: Partial<Subject> = {}): Subject => ({
  message: { kind: 'contact', op: 'create', contact: { uid: 'u', callsign: 'ALPHA' }, ...over },
  groups: [],
  ageMs: 0,
  ...more,
});
const MISSION: Subject = { message: { kind: 'mission', summary: 'create mission' }, groups: ['Blue'], ageMs: 0 };

/** What an allow and a deny of this match make of each subject: true, false, or neither can tell. */
function told(match: Match, subject: Subject): boolean | undefined {
  const yes = filter(allow(match)).judge(subject).crosses;
  const no = filter(deny(match)).judge(subject).crosses;
  assert.ok(!(yes && no), 'cannot be and not be');
  return yes ? true : no ? false : undefined;
}

describe('rules about messages', () => {
  test('every key of a match, on a unit', () => {
    const area = { box: { south: 48, west: 24, north: 49, east: 25 } };
    const cases: [Match, Subject, boolean | undefined][] = [
      [{ types: ['a-f-', 'b-'] }, unit(), true],
      [{ types: ['a-h-'] }, unit(), false],
      [{ callsigns: ['AL*'] }, unit({ callsign: 'ALPHA' }), true],
      [{ callsigns: ['AL?'] }, unit({ callsign: 'ALPHA' }), false],
      [{ callsigns: ['*'] }, unit({ callsign: '' }), undefined],
      [{ uids: ['ANDROID-*'] }, unit({ uid: 'ANDROID-1' }), true],
      [{ teams: ['Cyan'] }, unit({ team: 'Cyan' }), true],
      [{ teams: ['Cyan'] }, unit({ team: 'Red' }), false],
      [{ teams: ['Cyan'] }, unit({ team: '' }), false],
      [{ groups: ['Blue'] }, unit({}, { groups: ['Red', 'Blue'] }), true],
      [{ groups: ['Blue'] }, unit(), false],
      [{ feeds: ['*'] }, unit({ feedUid: 'f-1' }), true],
      [{ feeds: ['*'] }, unit(), false],
      [{ areas: [area] }, unit({ lat: 48.5, lon: 24.5 }), true],
      [{ areas: [area] }, unit({ lat: 50, lon: 24.5 }), false],
      [{ areas: [area] }, unit({ lat: 0, lon: 0 }), undefined],
      [{ olderThanMs: 1_000 }, unit({}, { ageMs: 1_001 }), true],
      [{ olderThanMs: 1_000 }, unit({}, { ageMs: 1_000 }), false],
      [{ alerts: true }, unit({ type: 'b-a-o-tbl' }), true],
      [{ alerts: true }, unit(), false],
      [{ alerts: false }, unit(), true],
      [{ packages: true }, unit(), false],
      [{ types: ['a-f-'], teams: ['Cyan'] }, unit({ team: 'Cyan' }), true],
      [{ types: ['a-f-'], teams: ['Red'] }, unit({ team: 'Cyan' }), false],
      [{}, unit(), true],
    ];
    for (const [match, subject, expected] of cases) {
      assert.equal(told(match, subject), expected, JSON.stringify([match, subject.message]));
    }
  });

  test('chat is its sender’s; one that names nobody may be anybody’s', () => {
    assert.equal(told({ callsigns: ['ALPHA'] }, ofEvent(chat('c', { sender: 'ALPHA' }))), true);
    assert.equal(told({ callsigns: ['ALPHA'] }, ofEvent(chat('c', { sender: 'BRAVO' }))), false);
    assert.equal(told({ callsigns: ['ALPHA'] }, ofEvent(chat('c'))), undefined);
    assert.equal(told({ teams: ['Cyan'] }, ofEvent(chat('c'))), undefined);
  });

  test('of a contact it is known what it is called, and what it reported itself where that may be told', () => {
    const area = { circle: { lat: 48, lon: 24, metres: 1000 } };
    assert.equal(told({ callsigns: ['AL*'] }, contact()), true);
    assert.equal(told({ uids: ['x*'] }, contact()), false);
    assert.equal(told({ types: ['a-f-'] }, contact()), undefined, 'it may be friendly');
    assert.equal(told({ types: ['a-'] }, contact()), true, 'every unit is');
    assert.equal(told({ types: ['b-'] }, contact()), false, 'no unit is');
    assert.equal(told({ types: ['a-f-'] }, contact({ unitType: 'a-h-G' })), false);
    assert.equal(told({ areas: [area] }, contact()), undefined);
    assert.equal(told({ areas: [area] }, contact({}, { reported: position('u', { lat: 48, lon: 24 }) })), true);
    assert.equal(told({ areas: [area] }, contact({}, { reported: position('u', { lat: 50, lon: 24 }) })), false);
    assert.equal(told({ alerts: true }, contact()), false);
  });

  test('of a mission nothing is known but its groups and that it is one', () => {
    assert.equal(told({ packages: true }, MISSION), true);
    assert.equal(told({ groups: ['Blue'] }, MISSION), true);
    for (const match of [
      { types: ['a-'] },
      { areas: [] },
      { callsigns: ['*'] },
      { alerts: true },
      { olderThanMs: 1 },
    ]) {
      assert.equal(told(match, MISSION), undefined, JSON.stringify(match));
    }
    const blocks: Rule = { action: 'deny', at: '', match: { types: ['b-'] }, eventsOnly: true };
    assert.equal(filter(blocks).judge(MISSION).crosses, true, 'packages have switches of their own');
  });

  test('the first allow or deny that fits decides, and is named; the rest follows from the list', () => {
    const rules = [deny({ types: ['a-h-'] }, 'r0'), allow({ types: ['a-'] }, 'r1'), allow({ alerts: true }, 'r2')];
    const judge = (type: string) => {
      const { crosses, at } = filter(...rules).judge(unit({ type }));
      return [crosses, at];
    };
    assert.deepEqual(judge('a-h-G'), [false, 'r0']);
    assert.deepEqual(judge('a-f-G'), [true, 'r1']);
    assert.deepEqual(judge('b-a-o-tbl'), [true, 'r2']);
    assert.deepEqual(judge('b-m-p'), [false, ''], 'where something is allowed, the rest is not');
    assert.equal(filter(rules[0]!).judge(unit({ type: 'b-m-p' })).crosses, true, 'where nothing is, all else crosses');
    assert.equal(filter().judge(unit()).crosses, true);
  });

  test('an exception does not make a white list', () => {
    const aside: Rule = { action: 'allow', at: '', match: { alerts: true }, aside: true };
    const only: Rule = { action: 'deny', at: '', match: { types: ['a-f-'] }, unless: true };
    const judge = (type: string) => filter(aside, only).judge(unit({ type })).crosses;
    assert.deepEqual([judge('b-a-o-tbl'), judge('a-f-G'), judge('a-h-G')], [true, true, false]);
    assert.equal(filter(aside).judge(unit({ type: 'a-h-G' })).crosses, true);
  });

  test('groups are renamed in order, for the rules behind it, and not twice in a name', () => {
    const renames: Rule[] = [
      { action: 'rename', at: '', from: 'Blue', to: 'Coalition' },
      deny({ groups: ['Blue'] }),
      allow({ groups: ['Coalition'] }),
    ];
    const renaming = filter(...renames);
    assert.equal(renaming.judge(unit({}, { groups: ['Blue'] })).crosses, true);
    assert.equal(renaming.judge(unit({}, { groups: ['Red'] })).crosses, false);
    assert.deepEqual(renaming.rename(['Blue', 'Coalition', 'Red']), ['Coalition', 'Red']);
    const same = ['Red'];
    assert.equal(renaming.rename(same), same, 'the same array when nothing is renamed');
  });

  test('a unit is thinned by the slowest rule that fits it', () => {
    const thin = (match: Match, everyMs: number): Rule => ({ action: 'thin', at: '', match, everyMs });
    const thins = filter(thin({ types: ['a-n-'] }, 60_000), thin({}, 5_000), deny({ types: ['b-'] }));
    assert.equal(thins.judge(unit({ type: 'a-n-G' })).thinMs, 60_000);
    assert.equal(thins.judge(unit()).thinMs, 5_000);
    const thinner = new Thinner();
    assert.deepEqual(
      [0, 4_999, 5_000, 9_999, 10_000].map((nowMs) => thinner.passes('u', 5_000, nowMs)),
      [true, false, true, false, true],
    );
    assert.equal(thinner.passes('other', 5_000, 1), true);
    for (let n = 0; n < 30_000; n++) thinner.passes(`u${n}`, 5_000, 20_000);
    assert.equal(thinner.passes('u29999', 5_000, 20_001), false, 'the last are remembered');
  });

  test('patterns', () => {
    for (const [pattern, name, expected] of [
      ['*', '', true],
      ['*', 'x', true],
      ['a*', 'abc', true],
      ['*c', 'abc', true],
      ['a*c', 'abbbc', true],
      ['a*b*c', 'axbxbxc', true],
      ['a*b*c', 'axbxbx', false],
      ['a?c', 'abc', true],
      ['a?c', 'ac', false],
      ['abc', 'abcd', false],
      ['abc', 'ABC', false],
      ['a.c', 'abc', false],
      ['**a**', 'bab', true],
      ['?', '', false],
    ] as const)
      assert.equal(fits(pattern, name), expected, `${pattern} ${name}`);
    const startedMs = performance.now();
    assert.equal(fits(`${'*a'.repeat(100)}b`, 'a'.repeat(1024)), false);
    assert.ok(performance.now() - startedMs < 1_000, 'no name takes for ever');
  });
});

describe('never leak', () => {
  let state = 20261129;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const TYPES = ['a-f-G', 'a-h-G', 'a-n-A', 'b-t-f', 'b-a-o-tbl', 'b-m-p'];
  const AREA = { box: { south: 40, west: 0, north: 50, east: 30 } };
  const randomMatch = (): Match => ({
    ...(random(2) ? { types: [pick(['a-', 'a-f-', 'b-', 'b-a-'])] } : {}),
    ...(random(3) ? {} : { callsigns: [pick(['A*', '*', 'B?'])] }),
    ...(random(3) ? {} : { groups: [pick(['Blue', 'Red'])] }),
    ...(random(3) ? {} : { areas: [AREA] }),
    ...(random(4) ? {} : { alerts: random(2) === 0 }),
    ...(random(4) ? {} : { olderThanMs: 1_000 }),
    ...(random(6) ? {} : { packages: random(2) === 0 }),
  });
  const randomSubject = (): Subject => {
    const groups = [[], ['Blue'], ['Red', 'Blue']][random(3)]!;
    if (random(5) === 0) return { ...MISSION, groups };
    if (random(4) === 0) return contact(random(2) ? { unitType: pick(TYPES.slice(0, 3)) } : {}, { groups });
    const fields = { type: pick(TYPES), callsign: pick(['', 'A1', 'B1']), lat: pick([0, 45, 60]), lon: pick([0, 10]) };
    return unit(fields, { groups, ageMs: random(2_000) });
  };

  test('a deny more never lets more through, an allow fewer neither, whatever the rest of the list', () => {
    for (let round = 0; round < 20_000; round++) {
      const rules = Array.from({ length: 1 + random(4) }, () =>
        random(2) ? allow(randomMatch()) : deny(randomMatch()),
      );
      const subject = randomSubject();
      const before = filter(...rules).judge(subject).crosses;
      const denied = filter(deny(randomMatch()), ...rules).judge(subject).crosses;
      assert.ok(!denied || before, JSON.stringify([rules, subject]));
      const at = rules.findIndex(({ action }) => action === 'allow');
      if (at < 0 || rules.filter(({ action }) => action === 'allow').length < 2) continue;
      const fewer = filter(...rules.toSpliced(at, 1)).judge(subject).crosses;
      assert.ok(!fewer || before, JSON.stringify([at, rules, subject]));
    }
  });

  test('no match is both true and false, and one that covers another is true wherever that one is', () => {
    let covered = 0;
    for (let round = 0; round < 40_000; round++) {
      const [large, small] = [randomMatch(), randomMatch()];
      const subject = randomSubject();
      const isSmall = told(small, subject);
      if (!covers(large, small)) continue;
      covered++;
      if (isSmall === true) assert.equal(told(large, subject), true, JSON.stringify([large, small, subject]));
      if (isSmall === undefined) assert.notEqual(told(large, subject), false, JSON.stringify([large, small, subject]));
    }
    assert.ok(covered > 1_000, `${covered} pairs`);
  });
});

describe('rules that contradict each other', () => {
  const words = (...rules: Rule[]) => contradictions(rules).map(({ index, words: said }) => `${index}: ${said}`);

  test('a rule that is never asked is found', () => {
    assert.deepEqual(words(deny({ types: ['b-'] }, 'r[0]'), allow({ types: ['b-t-f'] })), [
      '1: has no effect: r[0] denies all of it already',
    ]);
    assert.match(words(allow({}, 'r[0]'), deny({ types: ['a-h-'] }))[0]!, /r\[0\] allows all/);
    assert.match(words(deny({ callsigns: ['A*'] }), allow({ callsigns: ['AB*'], types: ['a-'] }))[0]!, /no effect/);
    assert.match(words(deny({ olderThanMs: 10 }), deny({ olderThanMs: 20 }))[0]!, /no effect/);
  });

  test('one that speaks of more, or of something else, is not', () => {
    assert.deepEqual(words(allow({ types: ['b-t-f'] }), deny({ types: ['b-'] })), []);
    assert.deepEqual(words(deny({ types: ['b-'], groups: ['Red'] }), allow({ types: ['b-t-f'] })), []);
    assert.deepEqual(words(deny({ callsigns: ['A?'] }), allow({ callsigns: ['A*'] })), []);
    const unless: Rule = { action: 'deny', at: '', match: { types: ['a-'] }, unless: true };
    assert.deepEqual(words(unless, deny({ types: ['a-h-'] })), []);
    const ofEvents: Rule = { action: 'deny', at: '', match: { types: ['b-'] }, eventsOnly: true };
    assert.deepEqual(words(ofEvents, deny({ types: ['b-m-'] })), [], 'the second stops packages as well');
    assert.match(words(ofEvents, allow({ types: ['b-t-f'] }))[0]!, /no effect/);
  });

  test('names that change twice, or not at all', () => {
    const rename = (from: string, to: string): Rule => ({ action: 'rename', at: 'g[0]', from, to });
    assert.deepEqual(words(rename('A', 'B'), rename('A', 'C')), ['1: A has another name already, by g[0]']);
    assert.deepEqual(words(rename('A', 'A')), ['0: renames A to itself']);
    assert.deepEqual(words(rename('A', 'B'), rename('C', 'B')), []);
  });
});
