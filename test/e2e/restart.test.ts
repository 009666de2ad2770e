// A restart asked for through the API, and radio silence and restart from the page, as somebody who is logged in does them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const CONTENT = 'application/x-www-form-urlencoded';

test('restart: offered only where somebody starts the relay again; exit code 75', async (t) => {
  const relay = new RelayHome(t, 'restarted');
  const [api] = await freePorts(1);
  relay.configure(api!, 'links: []\n');
  await relay.start();
  const post = () =>
    execFileSync(
      'curl',
      [
        '-s',
        '--unix-socket',
        relay.file('data/api.sock'),
        '-X',
        'POST',
        '-d',
        '{}',
        '-H',
        'content-type: application/json',
        'http://localhost/api/restart',
      ],
      { encoding: 'utf8' },
    );
  assert.match(post(), /"code":\s*"not_supervised"/);
  await relay.kill('SIGTERM');
  process.env.WAYSTATION_RESTARTS = '1';
  t.after(() => delete process.env.WAYSTATION_RESTARTS);
  await relay.start();
  const child = await relay.until(() => true, 'status');
  const ended = new Promise((resolve) => child.once('exit', resolve));
  assert.match(post(), /"restarting":\s*true/);
  assert.equal(await ended, 75);
  await relay.start();
  assert.match(await relay.command('audit'), /POST \/api\/restart.*restart asked for/);
});

test('the page: radio silence in its first line, one tap on and back; the restart button', async (t) => {
  const relay = new RelayHome(t, 'silenced');
  const [api, tls, closed] = await freePorts(3);
  relay.configure(
    api!,
    `links:\n  - { name: hq, kind: cot, connect: "127.0.0.1:${closed}" }\n`,
    `tls: "127.0.0.1:${tls}"`,
  );
  process.env.WAYSTATION_RESTARTS = '1';
  t.after(() => delete process.env.WAYSTATION_RESTARTS);
  await relay.start();
  const jar = relay.file('cookies');
  const curl = (path: string, ...more: string[]) =>
    execFileSync('curl', ['-sk', '-b', jar, '-c', jar, ...more, `https://127.0.0.1:${tls}${path}`], {
      encoding: 'utf8',
    });
  const code = readFileSync(relay.file('data/setup-code'), 'utf8').trim();
  curl(
    '/login',
    '-H',
    `content-type: ${CONTENT}`,
    '--data-urlencode',
    'username=ann',
    '--data-urlencode',
    'password=correct horse battery',
    '--data-urlencode',
    `code=${code}`,
  );
  const csrf = /name="csrf" value="([^"]+)"/.exec(curl('/'))![1]!;
  const tap = (path: string, ...fields: string[]) =>
    curl(
      path,
      '-H',
      `content-type: ${CONTENT}`,
      ...[`csrf=${csrf}`, ...fields].flatMap((field) => ['--data-urlencode', field]),
    );
  assert.match(curl('/'), /value="true"><button class="second">Radio silence</);
  tap('/emcon', 'silent=true');
  const silent = curl('/');
  assert.match(
    silent,
    /<ul class="truth" id="truth"><li><b class="doubtful">▲ Radio silence<\/b> since .* begun by ann: nothing goes out/,
  );
  assert.match(
    silent,
    /<body[^>]*>\s*<nav aria-label="Silence"><form .*value="false"><button class="second">End radio silence</,
  );
  assert.doesNotMatch(await (await fetch(`${relay.api}/`, { headers: { forwarded: 'for=x' } })).text(), /ann/);
  await relay.until(({ links }) => links[0]!.state === 'stopped', 'silence');
  tap('/emcon', 'silent=false');
  await relay.until(({ links }) => links[0]!.state === 'waiting', 'the end of silence');
  assert.doesNotMatch(curl('/'), /Radio silence<\/b>/);
  assert.match(curl('/doctor'), /Restart the relay/);
  const child = await relay.until(() => true, 'status');
  const ended = new Promise((resolve) => child.once('exit', resolve));
  assert.match(tap('/restart'), /The relay starts anew/);
  assert.equal(await ended, 75);
});
