// The command line over the Unix socket of a running relay, the file it changes, and the OpenAPI document, judged by a validator.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { phone } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

/** Exit code and what was said. */
async function failing(command: Promise<string>): Promise<{ code: number; stderr: string }> {
  try {
    assert.fail(`it should have failed, but said ${await command}`);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    return error as { code: number; stderr: string };
  }
}

test('links and settings are changed from the command line; a phone that is connected notices nothing', async (t) => {
  const [api, cot, other, tls] = (await freePorts(4)) as [number, number, number, number];
  const relay = new RelayHome(t, 'steered');
  relay.configure(api, '');
  const comment = '# Ask Anna before you touch this.';
  const links = `links:\n  ${comment}\n  - { name: phones, kind: cot, listen: "127.0.0.1:${cot}" }\n`;
  writeFileSync(relay.configPath, `name: steered\ndata: data\napi: { listen: ${api}, tls: ${tls} }\n${links}`);
  await relay.start();
  const say = (...args: string[]) => relay.command(...args);
  const file = () => readFileSync(relay.configPath, 'utf8');
  const [a, b] = [await phone(t, { port: cot }), await phone(t, { port: cot })];

  await t.test('add, edit, pause, resume, remove', async () => {
    assert.match(
      await say('link', 'add', 'more', 'cot', `listen=127.0.0.1:${other}`, '--dry'),
      /\+ {2}- name: more\n[\s\S]*nothing was changed/,
    );
    assert.match(await say('link', 'add', 'more', 'cot', `listen=127.0.0.1:${other}`), /in force/);
    await relay.until(
      (status) => status.links.find(({ name }) => name === 'more')?.state === 'listening',
      'the new link',
    );
    await say('link', 'edit', 'more', 'policy.out=false', 'policy.allow_types=[a-f-]');
    assert.equal((await say('config', 'get', 'links.more.policy.allow_types.0')).trim(), 'a-f-');
    await say('link', 'pause', 'more');
    assert.match(await say('link', 'list'), /more +cot +paused/);
    await say('link', 'resume', 'more');
    await say('link', 'remove', 'more');
    assert.doesNotMatch(file(), /more/);
    assert.ok(file().includes(comment));
    assert.match((await failing(say('link', 'remove', 'more'))).stderr, /no link "more"/);
    const bad = await failing(say('link', 'edit', 'phones', 'lisen=1'));
    assert.equal(bad.code, 3);
    assert.match(bad.stderr, /lisen: unknown key/);
    assert.equal((await failing(say('link', 'explode', 'phones'))).code, 2);
  });

  await t.test('from elsewhere: a certificate that is not trusted is no relay that does not run', async () => {
    const url = `https://localhost:${tls}`;
    const strange = await failing(say('status', '--api', url));
    assert.equal(strange.code, 1);
    assert.match(strange.stderr, /certificate of https.* is not trusted: .*\n.*--ca FILE/);
    writeFileSync(relay.file('ca.pem'), await say('cert', 'show', '--ca'));
    const token = (await say('token', 'create', 'far')).trim();
    const known = ['--ca', relay.file('ca.pem'), '--token', token];
    assert.match(await say('status', '--api', url, ...known), /^steered /);
  });

  await t.test('config set, history, undo; an edit by hand is not lost', async () => {
    const before = file();
    assert.match(await say('config', 'set', 'log.level', 'debug'), /\+ *level: debug/);
    assert.match(await say('config', 'history'), /local/);
    await say('config', 'undo');
    assert.equal(file(), before);
    writeFileSync(relay.configPath, `${before}# by hand\n`);
    const refused = await failing(say('config', 'set', 'log.level', 'warn'));
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /changed by hand/);
    assert.match(await say('config', 'diff'), /\+# by hand/);
    await say('config', 'reload');
    await say('config', 'set', 'log.level', 'warn');
    assert.match(file(), /# by hand/);
  });

  await t.test('tokens, audit, log', async () => {
    const token = (await say('token', 'create', 'grafana', '--days', '30')).trim();
    assert.match(token, /^wst_/);
    const ask = (path: string, method = 'GET') =>
      fetch(`${relay.api}${path}`, { method, headers: { authorization: `Bearer ${token}` } });
    assert.equal((await ask('/metrics')).status, 200);
    assert.equal((await ask('/api/links/phones', 'DELETE')).status, 403);
    assert.equal((await fetch(`${relay.api}/api/links/phones`, { method: 'DELETE' })).status, 401);
    const id = /^(\w{8}) +grafana +viewer/m.exec(await say('token', 'list'))![1]!;
    await say('token', 'revoke', id);
    assert.equal((await ask('/metrics')).status, 401);
    const audit = await say('audit', '--export');
    const entries = audit
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { detail: string; who: string; outcome: string });
    assert.ok(entries.some(({ detail, who }) => detail === 'link more added changed' && who === 'local'));
    assert.ok(entries.some(({ outcome }) => outcome === 'role_too_low'));
    assert.match(await say('audit', '--kind', 'refused'), /login_needed/);
    assert.match(await say('log', '--lines', '1000'), /"msg"/);
  });

  await t.test('radio silence outlasts a restart, and phones here go on', async () => {
    await say('link', 'add', 'uplink', 'fed2', `connect=127.0.0.1:${other}`);
    assert.match(await say('emcon', 'on'), /radio silence since/);
    await relay.until((status) => status.links.find(({ name }) => name === 'uplink')?.state === 'stopped', 'silence');
    assert.equal((await relay.status()).links.find(({ name }) => name === 'phones')!.state, 'listening');
    a.announce('ANDROID-a', 'ALPHA');
    await b.withUid('ANDROID-a');
    assert.equal((await relay.status()).peers.filter(({ link }) => link === 'phones').length, 2, 'never cut off');
    await relay.kill('SIGKILL');
    await relay.start();
    assert.match(await say('emcon'), /radio silence since/);
    assert.equal((await relay.status()).links.find(({ name }) => name === 'uplink')!.state, 'stopped');
    assert.match(await say('emcon', 'off'), /no radio silence/);
    await relay.until(
      (status) => status.links.find(({ name }) => name === 'uplink')?.state !== 'stopped',
      'the uplink again',
    );
  });

  await t.test('the OpenAPI document is one, and names every route', async () => {
    const document = (await (await fetch(`${relay.api}/api/openapi.json`)).json()) as { paths: Record<string, object> };
    const { valid, errors } = await new Validator().validate(structuredClone(document));
    assert.ok(valid, JSON.stringify(errors, null, 1));
    for (const path of [
      '/api/federation/{name}',
      '/api/links/{name}/pause',
      '/api/config',
      '/api/login',
      '/api/events',
    ]) {
      assert.ok(path in document.paths, path);
    }
  });
});
