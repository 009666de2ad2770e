// The files for Grafana and Prometheus in overlays/monitoring: every query names metrics and labels that exist, is PromQL, and
// the alerts fire when they should.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { Bench, inbound, position } from '../core/support.ts';
import { metricsOf } from './metrics-support.ts';

const FOLDER = join(import.meta.dirname, '../../overlays/monitoring');
const RULES = join(FOLDER, 'waystation.rules.yml');
const NO_PROMTOOL = spawnSync('promtool', ['--version']).error
  ? 'promtool is not installed (Debian: prometheus)'
  : false;
/** Labels that Prometheus adds. */
const ADDED_LABELS = ['instance', 'job'];

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const dashboard = JSON.parse(readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8')) as {
  readonly panels: readonly Panel[];
};
const rules = parse(readFileSync(RULES, 'utf8')) as {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly annotations: Record<string, string>;
    }[];
  }[];
};

const queries = [
  ...dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr, legendFormat }) => ({ title, expr, legendFormat })),
  ),
  ...rules.groups.flatMap((group) => group.rules.map(({ alert, expr }) => ({ title: alert, expr, legendFormat: '' }))),
];

/** Labels of every metric of a relay in which everything has happened. */
function everyMetric(): ReadonlyMap<string, ReadonlySet<string>> {
  const bench = new Bench();
  const from = bench.join('hq', { durable: true });
  bench.join('phones/1');
  from.port.rtt(20);
  from.port.deliver(inbound(position('alpha')));
  from.port.deliver(inbound(position('alpha')));
  const metrics = new Map<string, Set<string>>();
  for (const [, name, labels = ''] of metricsOf(bench).matchAll(/^(waystation_\w+)(?:\{(.*)\})? /gm)) {
    const known = metrics.get(name!) ?? new Set();
    for (const [, label] of labels.matchAll(/(\w+)="/g)) known.add(label!);
    metrics.set(name!, known);
  }
  return metrics;
}

test('every query of the dashboard and the alerts names metrics that exist, and labels that they have', () => {
  const metrics = everyMetric();
  assert.ok(queries.length > 25);
  for (const { title, expr, legendFormat } of queries) {
    const names = [...expr.matchAll(/waystation_\w+/g)].map(([name]) => name);
    const labels = new Set([...ADDED_LABELS, ...names.flatMap((name) => [...(metrics.get(name) ?? [])])]);
    for (const name of names) assert.ok(metrics.has(name), `"${title}" asks for ${name}`);
    const grouped = [...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/,\s*/));
    const matched = [...expr.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label!);
    const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!);
    for (const label of [...grouped, ...matched, ...shown])
      assert.ok(labels.has(label), `"${title}" asks for label ${label}`);
  }
});

function promtool(t: TestContext, args: readonly string[], files: Readonly<Record<string, unknown>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-monitoring-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), stringify(content));
  const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return stdout;
}

test('promtool accepts the alerts, and the queries of the dashboard as rules', { skip: NO_PROMTOOL }, (t) => {
  promtool(t, ['check', 'rules', RULES]);
  const plain = (expr: string) => expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*');
  const asRules = queries.map(({ expr }, index) => ({ record: `query:${index}`, expr: plain(expr) }));
  promtool(t, ['check', 'rules', 'queries.yml'], { 'queries.yml': { groups: [{ name: 'q', rules: asRules }] } });
});

test('the alerts fire when they should, and not before', { skip: NO_PROMTOOL }, (t) => {
  const box = 'instance="box:8080", job="waystation"';
  const series = (metric: string, labels: string, values: string) => ({
    series: `${metric}{${box}, ${labels}}`,
    values,
  });
  const quiet = (alertname: string, eval_time: string) => ({ alertname, eval_time });
  const firing = (alertname: string, eval_time: string, summary: string, labels: Record<string, string>) => {
    const { description } = rules.groups[0]!.rules.find(({ alert }) => alert === alertname)!.annotations;
    const expected = { exp_labels: { instance: 'box:8080', ...labels }, exp_annotations: { summary, description } };
    return { alertname, eval_time, exp_alerts: [expected] };
  };
  const job = { job: 'waystation' };
  promtool(t, ['test', 'rules', 'alerts.yml'], {
    'alerts.yml': {
      rule_files: [RULES],
      evaluation_interval: '1m',
      tests: [
        {
          interval: '1m',
          input_series: [
            series('waystation_up', 'name="a"', '1x60'),
            series('waystation_link_up', 'link="hq", kind="fed2"', '1x5 0x30'),
            series('waystation_link_up', 'link="phones", kind="cot"', '1x60'),
            series('waystation_newest_fix_age_seconds', 'peer="hq", link="hq"', '0+60x60'),
            series('waystation_peers_connected', 'peer="hq", link="hq"', '1x60'),
            series('waystation_certificate_remaining_seconds', 'certificate="server"', '1900800-86400x60'),
            series(
              'waystation_events_dropped_total',
              'peer="hq", direction="out", class="moving", reason="queue_full"',
              '0+60x60',
            ),
            series(
              'waystation_events_dropped_total',
              'peer="hq", direction="out", class="moving", reason="superseded"',
              '0+600x60',
            ),
          ],
          alert_rule_test: [
            quiet('WaystationLinkDown', '12m'),
            firing('WaystationLinkDown', '20m', 'link hq of box:8080 is down', {
              ...job,
              severity: 'warning',
              link: 'hq',
              kind: 'fed2',
            }),
            quiet('WaystationFixesOld', '5m'),
            firing('WaystationFixesOld', '20m', 'nothing new reaches hq from box:8080', {
              ...job,
              severity: 'warning',
              peer: 'hq',
              link: 'hq',
            }),
            quiet('WaystationCertificateExpiring', '0m'),
            firing('WaystationCertificateExpiring', '3m', 'the server certificate of box:8080 ends in 19d 0h 0m 0s', {
              ...job,
              severity: 'warning',
              certificate: 'server',
            }),
            firing('WaystationLosing', '25m', 'messages for hq are lost: queue_full', {
              severity: 'warning',
              peer: 'hq',
              reason: 'queue_full',
            }),
          ],
        },
      ],
    },
  });
});
