// The curl lines of the two public guides, run as they stand against real boxes: FreeTAKServer's federation guide, and the one for
// TAK Server. Names of fields and their spelling are the contract.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { curl, noCurl } from '../support/curl.ts';
import { freePorts, RelayHome, START_PATIENCE_MS } from '../support/relay-process.ts';

const PASSWORD = 'correct horse battery';
const JSON_TYPE = ['-H', 'Content-Type: application/json'];

interface Box {
  readonly home: RelayHome;
  readonly url: string;
  readonly ca: string;
  readonly caPem: string;
  readonly ports: { readonly federation: number };
}

async function box(t: TestContext, name: string): Promise<Box> {
  const [plain, tls, federation] = (await freePorts(3)) as [number, number, number];
  const home = new RelayHome(t, name);
  home.configure(plain, '');
  writeFileSync(
    home.configPath,
    `# The box ${name}.
name: ${name}
data: data
api:
  listen: ${plain} # to look at
  tls: ${tls}
trust:
#  - somebody.pem
links:
  # For whoever dials.
  - { name: federation, kind: fed2, listen: "127.0.0.1:${federation}" }
  - { name: federation-v1, kind: fed1, beside: federation }
`,
  );
  const caPem = await home.command('cert', 'show', '--ca');
  writeFileSync(home.file('ca.pem'), caPem);
  await home.start();
  return { home, url: `https://localhost:${tls}`, ca: home.file('ca.pem'), caPem, ports: { federation } };
}

/** Sets the first password with the code of the box; the token that `POST /api/login` then gives. */
async function login({ home, url, ca }: Box): Promise<string> {
  const code = readFileSync(home.file('data/setup-code'), 'utf8').trim();
  // The banner comes once every link is up.
  for (let tries = 0; tries < 400 && !home.output.includes(code); tries++)
    await new Promise((done) => setTimeout(done, 50));
  assert.ok(home.output.includes(code), 'the console shows it');
  const setup = JSON.stringify({ code, username: 'admin', password: PASSWORD });
  assert.equal((await curl('--cacert', ca, ...JSON_TYPE, '-d', setup, `${url}/api/setup`)).status, 200);
  const credentials = JSON.stringify({ username: 'admin', password: PASSWORD });
  const { status, json } = await curl(
    '--cacert',
    ca,
    '-X',
    'POST',
    `${url}/api/login`,
    ...JSON_TYPE,
    '-d',
    credentials,
  );
  assert.equal(status, 200);
  assert.deepEqual(Object.keys(json), ['token']);
  return json.token;
}

function caller({ url, ca }: Box, token: string) {
  return (method: string, path: string, body?: unknown) => {
    const data = body === undefined ? [] : [...JSON_TYPE, '-d', JSON.stringify(body)];
    return curl('--cacert', ca, '-X', method, `${url}${path}`, '-H', `Authorization: Bearer ${token}`, ...data);
  };
}

async function until<T>(ask: () => Promise<T>, is: (value: T) => boolean): Promise<T> {
  const deadline = Date.now() + START_PATIENCE_MS;
  for (;;) {
    const value = await ask();
    if (is(value)) return value;
    if (Date.now() > deadline) assert.fail(`waited in vain, at last with ${JSON.stringify(value)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

function testEvent(uid = 'FED-TEST-1', type = 'a-f-G-U-C'): string {
  const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
  return `<event version="2.0" uid="${uid}" type="${type}" time="${at(0)}" start="${at(0)}" stale="${at(10)}" how="h-g-i-g-o"><point lat="48.1234" lon="24.5678" hae="200.0" ce="10.0" le="999999.0"/><detail><contact callsign="FED-TEST-ALPHA"/><group name="Blue" role="Team Member"/></detail></event>`;
}

/** Live events of a box, as they come. */
async function watch(t: TestContext, { url, ca }: Box, token: string, query = '') {
  const socket = new WebSocket(`${url.replace('https', 'wss')}/api/events${query}`, {
    ca: readFileSync(ca),
    headers: { authorization: `Bearer ${token}` },
  });
  t.after(() => socket.terminate());
  const seen: { uid: string; type: string; received: string; callsign: string }[] = [];
  socket.on('message', (data) => seen.push(JSON.parse(String(data))));
  await new Promise((opened, failed) => socket.once('open', opened).once('error', failed));
  return seen;
}

test('the guides’ lines: login, federate, filter, inject, watch, delete', { skip: noCurl }, async (t) => {
  const [a, b] = await Promise.all([box(t, 'alpha'), box(t, 'bravo')]);
  const [aToken, bToken] = [await login(a), await login(b)];
  const [onA, onB] = [caller(a, aToken), caller(b, bToken)];
  const blue = { cot_types: ['a-f-', 'a-n-', 't-x-m-c'], groups: ['Blue', 'Command'], direction: 'both' };

  await t.test('both add each other; one dials', async () => {
    const made = await onA('POST', '/api/federation', {
      name: 'Server-B',
      address: '127.0.0.1',
      port: b.ports.federation,
      protocol: 'tls',
      ca_cert: b.caPem,
      ca_pin: `SHA256:${(await onB('GET', '/api/status')).json.caFingerprint}`,
      bidirectional: true,
      enabled: true,
      keepalive_seconds: 60,
      filters: { cot_types: ['a-f-'], groups: [], direction: 'both' },
    });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(made.json.filters, { cot_types: ['a-f-'], groups: [], direction: 'both', block_types: [] });
    assert.equal(made.json.name, 'Server-B');
    assert.equal(made.json.port, b.ports.federation);
    const pin = `SHA256:${(await onB('GET', '/api/status')).json.caFingerprint}`;
    assert.match(pin, /^SHA256:[0-9a-f]{64}$/);
    const back = { name: 'server-a', address: '127.0.0.1', port: a.ports.federation, ca_cert: a.caPem, enabled: false };
    const wrong = await onB('POST', '/api/federation', { ...back, ca_pin: pin });
    assert.equal(wrong.status, 422);
    assert.equal(wrong.json.code, 'pin_mismatch');
    assert.equal((await onB('POST', '/api/federation', back)).status, 201);
    const [row] = await until(
      async () => (await onA('GET', '/api/federation')).json,
      ([one]) => one.status === 'connected',
    );
    for (const field of ['name', 'address', 'port', 'status', 'events_forwarded', 'events_received']) {
      assert.ok(field in row, field);
    }
    assert.match(
      readFileSync(a.home.configPath, 'utf8'),
      /# The box alpha\.\n[\s\S]*# to look at\n[\s\S]*# For whoever dials\./,
    );
  });

  await t.test('an event put in here is seen over there, with the time it was received', async () => {
    const seen = await watch(t, b, bToken);
    const sent = await curl(
      ...['--cacert', a.ca, '-X', 'POST', `${a.url}/api/events`, '-H', `Authorization: Bearer ${aToken}`],
      ...['-H', 'Content-Type: application/xml', '--data-binary', testEvent()],
    );
    assert.equal(sent.status, 202, sent.text);
    await until(
      async () => seen.length,
      (count) => count > 0,
    );
    assert.equal(seen[0]!.callsign, 'FED-TEST-ALPHA');
    const delayMs = Date.parse(seen[0]!.received) - Date.now();
    assert.ok(Math.abs(delayMs) < 60_000, 'a time of now');
    const [row] = await until(
      async () => (await onA('GET', '/api/federation')).json,
      ([one]) => one.events_forwarded > 0,
    );
    assert.equal(row.name, 'Server-B');
  });

  await t.test('filters take hold without a reconnect', async () => {
    const before = (await onB('GET', '/api/status')).json.peers.find((peer: { kind: string }) =>
      peer.kind.startsWith('fed'),
    );
    const patched = await onA('PATCH', '/api/federation/Server-B', { filters: blue });
    assert.equal(patched.status, 200, patched.text);
    assert.deepEqual(patched.json.filters, { ...blue, block_types: [] });
    const seen = await watch(t, b, bToken, '?type=a-');
    const put = (xml: string) =>
      curl(
        ...['--cacert', a.ca, '-X', 'POST', `${a.url}/api/events`, '-H', `Authorization: Bearer ${aToken}`],
        ...['-H', 'Content-Type: application/xml', '--data-binary', xml],
      );
    const drops = async () => {
      const { peers } = (await onA('GET', '/api/status')).json;
      const { lanes } = peers.find(({ key }: { key: string }) => key === 'server-b');
      return lanes.reduce(
        (sum: number, { dropped }: { dropped: { filtered_out?: number } }) => sum + (dropped.filtered_out ?? 0),
        0,
      );
    };
    const were = await drops();
    await put(testEvent('HOSTILE', 'a-h-G'));
    assert.ok((await drops()) > were, 'the hostile one stays here');
    await put(testEvent('CYAN').replace('"Blue"', '"Cyan"'));
    await put(testEvent('BLUE'));
    await until(
      async () => seen.map(({ uid }) => uid),
      (uids) => uids.includes('BLUE'),
    );
    assert.deepEqual(
      seen.map(({ uid }) => uid),
      ['BLUE'],
      'by team, as the guide has it: its test event is of Blue',
    );
    await onA('PATCH', '/api/federation/Server-B', { filters: { cot_types: [], groups: [] } });
    await put(testEvent('FRIEND'));
    await until(
      async () => seen.map(({ uid }) => uid),
      (uids) => uids.includes('FRIEND'),
    );
    const after = (await onB('GET', '/api/status')).json.peers.find((peer: { kind: string }) =>
      peer.kind.startsWith('fed'),
    );
    assert.equal(after.since, before.since, 'the same connection');
  });

  await t.test('FreeTAKServer’s status', async () => {
    const { json, status } = await onA('GET', '/api/federation/status');
    assert.equal(status, 200);
    const [row] = json.federations;
    assert.deepEqual(Object.keys(row), ['remote_server', 'status', 'node_id', 'last_heartbeat']);
    assert.equal(row.remote_server, `127.0.0.1:${b.ports.federation}`);
    assert.equal(row.status, 'connected');
    const [, accepted] = (await onB('GET', '/api/federation/status')).json.federations;
    assert.match(accepted.last_heartbeat, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  await t.test('FreeTAKServer’s connect, with all fields and with the least, outlasts a restart', async () => {
    const [one, two] = (await freePorts(2)) as [number, number];
    for (const body of [
      { address: '127.0.0.1', port: one, initiator: true, protocol: 'ssl' },
      { address: '127.0.0.1', port: two },
    ]) {
      const made = await onA('POST', '/api/federation/connect', body);
      assert.equal(made.status, 200, made.text);
      assert.equal(made.json.remote_server, `127.0.0.1:${body.port}`);
    }
    const again = await onA('POST', '/api/federation/connect', { address: '127.0.0.1', port: two });
    assert.equal(again.status, 200, 'asked twice, there is still one');
    assert.equal(await a.home.kill('SIGTERM'), 0);
    await a.home.start();
    const remotes = (await a.home.status()).links.map(({ name }) => name);
    assert.deepEqual(remotes, ['federation', 'federation-v1', 'server-b', 'fts-127.0.0.1', 'fts-127.0.0.1-2']);
  });

  await t.test('deleted, it closes at once and is not let in again', async () => {
    const { token } = (
      await curl(
        '--cacert',
        a.ca,
        ...JSON_TYPE,
        '-d',
        JSON.stringify({ username: 'admin', password: PASSWORD }),
        `${a.url}/api/login`,
      )
    ).json;
    const anew = caller(a, token);
    const connected = async () =>
      (await b.home.status()).peers.some(({ kind, connected }) => kind.startsWith('fed') && connected);
    await until(connected, Boolean);
    assert.equal((await onB('DELETE', '/api/federation/server-a')).status, 204);
    await until(connected, (still) => !still);
    await until(
      async () => (await anew('GET', '/api/federation/Server-B')).json,
      ({ status, error }) => status === 'connecting' && error !== null,
    );
    const { links } = await b.home.status();
    assert.ok(
      links.some(({ refusals }) => Object.keys(refusals).length > 0),
      'it tries, and is refused',
    );
    assert.equal((await anew('DELETE', '/api/federation/Server-B')).status, 204);
    assert.equal((await anew('DELETE', '/api/federation/Server-B')).status, 404);
    assert.equal((await anew('GET', '/api/federation')).json.length, 2);
    const { entries } = (await anew('GET', '/api/audit?kind=change')).json;
    assert.equal(entries[0].detail, 'federation Server-B removed');
    assert.equal(entries[0].who, 'admin');
  });
});
