// The doctor as an operator meets it: command line, API and page of a relay that runs, and of one that does not.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DoctorReport } from '../../src/core/diagnosis.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

interface Ended {
  readonly code: number;
  readonly stdout: string;
}

async function doctor(relay: RelayHome, ...args: string[]): Promise<Ended> {
  return relay.command('doctor', ...args).then(
    (stdout) => ({ code: 0, stdout }),
    ({ code, stdout }: Ended) => ({ code, stdout }),
  );
}

function lastLine({ stdout }: Ended): string {
  return stdout.trimEnd().split('\n').at(-1)!;
}

async function sick(t: TestContext) {
  const relay = new RelayHome(t, 'sick');
  const [api, phones, closed] = await freePorts(3);
  relay.configure(
    api!,
    `links:
  - { name: phones, kind: cot, listen: "127.0.0.1:${phones}" }
  - { name: hq, kind: fed2, connect: "127.0.0.1:${closed}" }\n`,
  );
  return { relay, closed: closed! };
}

test('doctor: exit codes, and a last line that says it', async (t) => {
  const { relay, closed } = await sick(t);
  const atRest = await doctor(relay, 'hq');
  assert.equal(atRest.code, 4);
  assert.match(
    lastLine(atRest),
    new RegExp(`^No relay is running .* hq: 127\\.0\\.0\\.1:${closed} refused the connection\\. Fix:`),
  );
  await relay.start();
  const ill = await doctor(relay);
  assert.equal(ill.code, 1);
  assert.match(
    lastLine(ill),
    new RegExp(`^hq: 127\\.0\\.0\\.1:${closed} refused the connection\\. Fix: nothing listens on that port`),
  );
  assert.match(ill.stdout, /^BAD {2}hq \(fed2\)$/m);
  const well = await doctor(relay, 'phones', '--all');
  assert.equal(well.code, 0);
  assert.match(lastLine(well), /^phones: it listens at|^phones: listening/);
  const { diagnoses } = JSON.parse((await doctor(relay, 'hq', '--json')).stdout) as DoctorReport;
  assert.equal(diagnoses[0]!.checks.find(({ id }) => id === 'port')!.finding, 'bad');
  assert.equal((await doctor(relay, 'nobody')).code, 1);
  assert.equal((await doctor(relay, 'hq', 'phones')).code, 2);
});

test('API and page: looking is for viewers, trying for operators, and is written down', async (t) => {
  const { relay } = await sick(t);
  await relay.start();
  await relay.until(({ links }) => links.some(({ name, state }) => name === 'hq' && state === 'waiting'), 'trouble');
  const seen = (await (await fetch(`${relay.api}/api/doctor/hq`)).json()) as DoctorReport;
  assert.equal(seen.tried, false);
  assert.match(seen.sentence, /^hq: .* refused the connection\. Fix: Nothing listens there/);
  assert.equal((await fetch(`${relay.api}/api/doctor/hq`, { method: 'POST', body: '{}' })).status, 401);
  assert.equal((await fetch(`${relay.api}/api/doctor/none`)).status, 404);
  const page = await (await fetch(`${relay.api}/doctor/hq`)).text();
  assert.match(page, /<h1>What is wrong with hq\?<\/h1><p class="bad" role="alert"><b>■ hq: .* refused the connection/);
  assert.doesNotMatch(page, /Try it now/);
  assert.match(await (await fetch(`${relay.api}/`)).text(), /href="\/doctor\/hq">What is wrong\?/);
  await doctor(relay, 'hq');
  assert.match(await relay.command('audit'), /POST \/api\/doctor\/hq.*doctor tried hq: bad/);
});
