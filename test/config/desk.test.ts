// Changing the configuration of a running relay: comments stay, nothing bad is written, nobody's edit is lost, undo works.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DEFAULT_CONFIG } from '../../src/config/defaults.ts';
import { ConfigDesk } from '../../src/config/desk.ts';
import { editYaml, textValue } from '../../src/config/edit.ts';
import { addLink, patchLink, removeLink, settingAt, settingPath } from '../../src/config/links-edit.ts';
import { ConfigRefused } from '../../src/config/refused.ts';
import type { Config } from '../../src/config/schema.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { FatalError } from '../../src/lib/errors.ts';

const FILE = `# Box of the first company.
log:
    level:   info   # not debug, it floods the card

links:
  # Phones. Ask Anna before you touch this.
  - name: phones
    kind: cot
    listen: 18087 # the port on the sticker

  - {name: hq, kind: fed2, connect: "hq.example.org:9001"} # uplink
`;
const HQ2 = { name: 'hq2', kind: 'fed2', connect: 'hq2.example.org:9001' };

const refusal = (code: string) => (error: unknown) => error instanceof ConfigRefused && error.code === code;

async function desk(t: TestContext, text: string | undefined = FILE) {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-desk-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'box.yaml');
  const data = join(folder, 'data');
  if (text !== '') writeFileSync(path, text);
  const load = {
    ...(text === '' ? {} : { path }),
    env: { data },
    defaults: { hostName: 'h', dataFolder: data, places: [join(folder, 'none.yaml')] },
  };
  const made = new ConfigDesk({ load, clock: systemClock });
  const loaded = await made.begin();
  assert.ok('config' in loaded);
  const applied: Config[] = [];
  made.onApply((config) => void applied.push(config));
  const add = (who = 'anna') => made.change((now) => editYaml(now, addLink(now, HQ2)), { who });
  return { desk: made, path, data, applied, add, read: () => readFileSync(path, 'utf8') };
}

test('what is not changed stays as it was written, to the letter', () => {
  const added = editYaml(FILE, addLink(FILE, HQ2));
  assert.ok(added.startsWith(FILE.trimEnd()), added);
  const patched = editYaml(FILE, patchLink(FILE, 'hq', { policy: { out: false }, enabled: null }));
  assert.match(patched, /- \{name: hq, .*policy: .*out: false.*\} # uplink/);
  assert.equal(patched.split('\n').slice(0, 10).join('\n'), FILE.split('\n').slice(0, 10).join('\n'));
  const removed = editYaml(FILE, removeLink(FILE, 'hq'));
  assert.equal(removed.trimEnd(), FILE.slice(0, FILE.indexOf('\n  - {name: hq')).trimEnd());
  const level = editYaml(FILE, [{ op: 'set', path: ['log', 'level'], value: 'debug' }]);
  assert.match(level, /level: +debug +# not debug, it floods the card/);
  for (const comment of FILE.match(/#.*/g)!) assert.ok(added.includes(comment), comment);
});

test('the built-in configuration with all its examples survives being edited', () => {
  const edited = editYaml(DEFAULT_CONFIG, [
    ...addLink(DEFAULT_CONFIG, HQ2),
    { op: 'add', path: ['trust'], value: 'hq-ca.pem' },
  ]);
  for (const line of DEFAULT_CONFIG.split('\n').filter((one) => one.trim() !== '')) {
    assert.ok(edited.includes(line.replace(/^# /, '').trim()), line);
  }
  assert.deepEqual((textValue(edited) as { trust: unknown }).trust, ['hq-ca.pem']);
  assert.equal(editYaml(edited, removeLink(edited, 'hq2')).includes('hq2.example.org'), false);
});

test('what is shared by an anchor is left to whoever wrote it', () => {
  const shared =
    'links:\n  - { name: a, kind: fed2, connect: "a:1", policy: &p { out: true } }\n  - { name: b, kind: fed2, connect: "b:1", policy: *p }\n';
  assert.throws(() => editYaml(shared, patchLink(shared, 'b', { policy: { out: false } })), refusal('edit_by_hand'));
  assert.throws(() => editYaml(shared, patchLink(shared, 'a', { policy: { out: false } })), refusal('edit_by_hand'));
  assert.throws(() => editYaml('links: [', []), refusal('config_bad'));
  assert.throws(() => patchLink(FILE, 'nobody', {}), refusal('unknown_link'));
  assert.throws(() => addLink(FILE, { name: 'hq' }), refusal('link_exists'));
});

test('settings are named with dots, links by their names, which may hold dots', () => {
  const text = 'log: {level: info}\nlinks:\n  - {name: a.b, kind: fed2, connect: "a:1", policy: {in: false}}\n';
  assert.deepEqual(settingPath(text, 'links.a.b.policy.in'), ['links', 0, 'policy', 'in']);
  assert.equal(settingAt(text, settingPath(text, 'links.a.b.policy.in')), false);
  assert.equal(settingAt(text, settingPath(text, 'log.level')), 'info');
  assert.equal(settingAt(text, settingPath(text, 'log.nothing.there')), undefined);
  assert.throws(() => settingPath(text, 'links.c.policy'), refusal('unknown_link'));
});

test('a change is checked whole, in force, in the history, and can be undone and redone', async (t) => {
  const { desk: made, applied, add, read, data } = await desk(t);
  const change = await add();
  assert.equal(change.applied, true);
  assert.match(change.diff, /^\+ {2}- name: hq2$/m);
  assert.deepEqual(
    applied.map(({ links }) => links.map(({ name }) => name)),
    [['phones', 'hq', 'hq2']],
  );
  const [version] = await made.history();
  assert.equal(version!.replacedBy, 'anna');
  assert.equal(await made.version(version!.id), FILE);
  assert.equal(
    statSync(join(data, 'config-history', readdirSync(join(data, 'config-history'))[0]!)).mode & 0o777,
    0o600,
  );
  await made.undo(undefined, { who: 'bob' });
  assert.equal(read(), FILE);
  await made.undo(undefined, { who: 'bob' });
  assert.match(read(), /hq2/);
  await made.undo(version!.id, { who: 'bob' });
  assert.equal(read(), FILE);
  await assert.rejects(made.undo('9999', { who: 'bob' }), refusal('unknown_version'));
});

test('a look changes nothing; the same again changes nothing', async (t) => {
  const { desk: made, applied, read } = await desk(t);
  const look = await made.change((now) => editYaml(now, addLink(now, HQ2)), { who: 'a', dry: true });
  assert.match(look.diff, /hq2/);
  assert.equal((await made.change((now) => now, { who: 'a' })).applied, false);
  assert.equal(read(), FILE);
  assert.equal(applied.length, 0);
  assert.deepEqual(await made.history(), []);
});

test('what would be no good configuration is refused with its line, and nothing is written', async (t) => {
  const { desk: made, applied, read } = await desk(t);
  const bad = made.change((now) => editYaml(now, patchLink(now, 'hq', { conect: 'x:1' })), { who: 'a' });
  await assert.rejects(bad, (error: ConfigRefused) => {
    assert.equal(error.code, 'config_bad');
    assert.match(error.message, /line \d+: links\[1\]\.conect: unknown key/);
    return true;
  });
  assert.equal(read(), FILE);
  assert.equal(applied.length, 0);
});

test('what cannot be put in force is taken back', async (t) => {
  const { desk: made, add, read } = await desk(t);
  made.onApply(() => {
    throw new FatalError('trust_unreadable', 'the trusted certificate cannot be read', 'put it there');
  });
  await assert.rejects(add(), refusal('config_not_applied'));
  assert.equal(read(), FILE);
  assert.deepEqual(await made.history(), []);
});

test('a file that was changed by hand meanwhile is not written over', async (t) => {
  const { desk: made, path, add, read } = await desk(t);
  const byHand = FILE.replace('18087', '18088');
  writeFileSync(path, byHand);
  await assert.rejects(add(), (error: ConfigRefused) => {
    assert.equal(error.code, 'config_changed_meanwhile');
    assert.match(error.message, /changed by hand/);
    assert.match(error.fix, /config reload/);
    return true;
  });
  assert.equal(read(), byHand);
  const state = await made.state();
  assert.equal(state.running, false);
  assert.match(state.diff, /^-.*18087/m);
  await made.reload();
  assert.equal((await add()).applied, true);
  assert.match(read(), /18088/);
});

test('with the etag of what its author has seen, a change may start from a hand-made one', async (t) => {
  const { desk: made, path } = await desk(t);
  const { etag } = await made.state();
  writeFileSync(path, `${FILE}# by hand\n`);
  await assert.rejects(
    made.change(() => FILE, { who: 'a', etag }),
    refusal('config_changed_meanwhile'),
  );
  const { etag: fresh } = await made.state();
  assert.equal((await made.change((now) => `${now}# and more\n`, { who: 'a', etag: fresh })).applied, true);
});

test('without any file the first change makes one in the data folder, which is then found again', async (t) => {
  const { desk: made, data } = await desk(t, '');
  assert.equal((await made.state()).exists, false);
  const change = await made.change((now) => editYaml(now, addLink(now, HQ2)), { who: 'a' });
  assert.equal(change.path, join(data, 'waystation.yaml'));
  assert.ok(existsSync(change.path));
  const loaded = await made.reload();
  assert.equal(loaded.path, change.path);
  assert.ok('config' in loaded && loaded.config.links.some(({ name }) => name === 'hq2'));
});

test('two changes at once come one after the other', async (t) => {
  const { desk: made, read } = await desk(t);
  const names = Array.from({ length: 8 }, (_, index) => `x${index}`);
  await Promise.all(
    names.map((name) => made.change((now) => editYaml(now, addLink(now, { ...HQ2, name })), { who: 'a' })),
  );
  for (const name of names) assert.match(read(), new RegExp(`name: ${name}$`, 'm'));
});
