// A real Prometheus scrapes a real relay with the alerts of overlays/monitoring, and answers every query of the dashboard.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { phone } from '../support/cot-client.ts';
import { freePorts, RelayHome } from '../support/relay-process.ts';

const FOLDER = join(import.meta.dirname, '../../overlays/monitoring');
const skip = spawnSync('prometheus', ['--version']).error ? 'prometheus is not installed (Debian: prometheus)' : false;
const PATIENCE_MS = 60_000;

interface Answer<T> {
  readonly status: string;
  readonly error?: string;
  readonly data: T;
}

interface Found {
  readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[];
}

/** Starts Prometheus on the relay; resolves to its URL when it answers. */
async function scraping(t: TestContext, home: RelayHome, target: string): Promise<string> {
  const [port] = await freePorts(1);
  const config = home.file('prometheus.yml');
  writeFileSync(
    config,
    `global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: ["${FOLDER}/waystation.rules.yml"]\n` +
      `scrape_configs:\n  - job_name: waystation\n    static_configs: [{ targets: ["${target}"] }]\n`,
  );
  const args = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${home.file('tsdb')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const child = spawn('prometheus', args, { stdio: 'ignore' });
  t.after(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return `http://127.0.0.1:${port}`;
}

async function ask<T>(url: string, path: string): Promise<Answer<T> | undefined> {
  const response = await fetch(`${url}${path}`).catch(() => undefined);
  return (await response?.json().catch(() => undefined)) as Answer<T> | undefined;
}

async function until<T>(what: string, find: () => Promise<T | undefined | false>): Promise<T> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; ) {
    const found = await find();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error(`waited in vain for ${what}`);
}

test('Prometheus scrapes a relay, and the dashboard has something to show', { skip }, async (t) => {
  const home = new RelayHome(t, 'seen');
  const [api, port] = await freePorts(2);
  home.configure(api!, `links:\n  - { name: phones, kind: cot, listen: "127.0.0.1:${port}" }\n`);
  await home.start();
  const [one, two] = [await phone(t, { port: port! }), await phone(t, { port: port! })];
  const timeMs = Date.now();
  for (let twice = 0; twice < 2; twice++) one.announce('unit-1', 'ONE', timeMs);
  await two.withUid('unit-1');
  const url = await scraping(t, home, `127.0.0.1:${api}`);
  const query = async (expr: string) => {
    const answer = await ask<Found>(url, `/api/v1/query?query=${encodeURIComponent(expr)}`);
    if (answer) assert.equal(answer.status, 'success', `${expr}: ${answer.error}`);
    return answer?.data.result;
  };
  await until('a scrape', async () => (await query('waystation_up'))?.length);
  const sent = 'sum(waystation_events_total{peer="phones/*", direction="out"})';
  const [{ value }] = (await query(sent)) as [Found['result'][number]];
  assert.ok(Number(value[1]) >= 1);
  // Rates need two scrapes.
  await until('a second scrape', async () => (await query('rate(waystation_cpu_seconds_total[1m])'))?.length);
  const { panels } = JSON.parse(readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8')) as {
    readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
  };
  const empty: string[] = [];
  for (const { title, targets } of panels) {
    for (const { expr } of targets) {
      const found = await query(expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'));
      if (!found?.length) empty.push(title);
    }
  }
  // What this relay does not have: a durable peer, anything that waits, strangers, sensors.
  const absent = [
    'Round trip',
    'Waiting, by peer and class',
    'Connections, and strangers turned away',
    'Temperature',
    'Links down',
  ];
  assert.deepEqual(
    empty.filter((title) => !absent.includes(title)),
    [],
  );
  const rules = await ask<{ groups: { rules: { name: string; health: string; state: string }[] }[] }>(
    url,
    '/api/v1/rules',
  );
  const all = rules!.data.groups.flatMap((group) => group.rules);
  assert.ok(all.length >= 8);
  assert.deepEqual(
    all.filter(({ health, state }) => health === 'err' || state === 'firing').map(({ name }) => name),
    [],
  );
});
