// What /metrics says, held against the hub that did it and against Prometheus' own checker.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Exposition } from '../../src/api/exposition.ts';
import { ProcessMeasures } from '../../src/api/process-measures.ts';
import { MAX_PEERS } from '../../src/api/prometheus.ts';
import type { PeerSpec } from '../../src/core/session.ts';
import { Bench, chat, inbound, phoneSays, position, RecordingSession } from '../core/support.ts';
import { metricsOf, rate, sampleOf } from './metrics-support.ts';

/** None of them is told of contacts: what they are sent is easy to count. */
function joinPhone(bench: Bench, key: string, fields: Partial<PeerSpec> = {}): RecordingSession {
  const session = new RecordingSession(key);
  session.says = phoneSays;
  return bench.join(key, fields, session);
}

const NO_PROMTOOL = spawnSync('promtool', ['--version']).error
  ? 'promtool is not installed (Debian: prometheus)'
  : false;

test('counters tell what came in, what went out and what was not forwarded, by peer and class', () => {
  const bench = new Bench();
  const from = joinPhone(bench, 'hq', { durable: true });
  joinPhone(bench, 'phones/1');
  joinPhone(bench, 'phones/2');
  from.port.deliver(inbound(position('alpha')));
  from.port.deliver(inbound(position('alpha')));
  from.port.deliver(inbound(chat('hello')));
  const text = metricsOf(bench);
  assert.equal(sampleOf(text, 'waystation_events_total', { peer: 'hq', class: 'moving', direction: 'in' }), 1);
  assert.equal(sampleOf(text, 'waystation_events_total', { peer: 'hq', class: 'chat', direction: 'in' }), 1);
  assert.equal(sampleOf(text, 'waystation_events_total', { peer: 'phones/*', class: 'moving', direction: 'out' }), 2);
  assert.equal(
    sampleOf(text, 'waystation_events_dropped_total', { peer: 'hq', direction: 'in', reason: 'duplicate' }),
    1,
  );
  assert.equal(sampleOf(text, 'waystation_peers_connected', { peer: 'phones/*' }), 2);
});

test('files: what is kept, what came and went, what was refused and why', () => {
  const text = metricsOf(new Bench());
  assert.equal(sampleOf(text, 'waystation_files_refused_total', { reason: 'hash_wrong' }), 4);
  assert.equal(sampleOf(text, 'waystation_files_transfers', { direction: 'in' }), 1);
  assert.equal(sampleOf(text, 'waystation_files_transfers_total', { direction: 'in', result: 'whole' }), 3);
  assert.equal(sampleOf(text, 'waystation_files_bytes_total', { direction: 'in' }), 20);
  assert.equal(sampleOf(text, 'waystation_files_stored_bytes', {}), 30);
});

test('clients that left stay in the sum of their link, which never shrinks', () => {
  const bench = new Bench();
  const from = joinPhone(bench, 'hq', { durable: true });
  const phone = joinPhone(bench, 'phones/1');
  phone.room = 1;
  from.port.deliver(inbound(position('alpha')));
  from.port.deliver(inbound(position('bravo')));
  phone.close('remote_closed');
  const text = metricsOf(bench);
  const labels = { peer: 'phones/*', class: 'moving', direction: 'out' };
  assert.equal(sampleOf(text, 'waystation_events_total', labels), 1);
  assert.equal(sampleOf(text, 'waystation_events_dropped_total', { ...labels, reason: 'peer_gone' }), 1);
  assert.doesNotMatch(text, /phones\/1"/);
});

test('what a peer calls itself, and is called here, makes no new series', () => {
  const bench = new Bench();
  const peer = joinPhone(bench, 'hq', { durable: true });
  const before = metricsOf(bench);
  bench.hub.setPeerName('hq', 'County TAK');
  peer.port.named('another each time');
  assert.equal(metricsOf(bench), before);
});

test('latency is measured where it arises: at once on a free wire, the wait in a queue', () => {
  const bench = new Bench();
  const from = joinPhone(bench, 'hq', { durable: true });
  const slow = joinPhone(bench, 'slow', { durable: true });
  joinPhone(bench, 'quick', { durable: true });
  slow.room = 0;
  bench.clock.advance(2_000);
  from.port.deliver(inbound(position('alpha')));
  bench.clock.advance(4_000);
  slow.room = 10;
  slow.port.writable();
  const text = metricsOf(bench);
  const { relay, age, endToEnd } = {
    relay: rate(text, 'waystation_relay_latency_seconds', 'moving'),
    age: rate(text, 'waystation_event_age_seconds', 'moving'),
    endToEnd: rate(text, 'waystation_end_to_end_seconds', 'moving'),
  };
  assert.deepEqual(relay, { count: 2, sum: 4, upTo: { '0.001': 1, '2.5': 1, '5': 2, '+Inf': 2 } });
  assert.deepEqual(age, { count: 1, sum: 2, upTo: { '0.001': undefined, '2.5': 1, '5': 1, '+Inf': 1 } });
  assert.deepEqual(endToEnd, { count: 2, sum: 8, upTo: { '0.001': undefined, '2.5': 1, '5': 1, '+Inf': 2 } });
});

test('however many peers there are, the series stay few, and none of their traffic is lost', () => {
  const bench = new Bench();
  const from = joinPhone(bench, 'source', { durable: true });
  for (let n = 0; n < MAX_PEERS + 50; n++) joinPhone(bench, `federation/${n}`, { durable: true });
  for (let n = 0; n < 300; n++) joinPhone(bench, `phones/${n}`);
  from.port.deliver(inbound(position('alpha')));
  const text = metricsOf(bench);
  const peers = new Set(Array.from(text.matchAll(/peer="([^"]+)"/g), ([, peer]) => peer));
  assert.equal(peers.size, MAX_PEERS + 2);
  const out = [...text.matchAll(/^waystation_events_total\{.*class="moving",direction="out"\} (\d+)$/gm)]
    .map(([, count]) => Number(count))
    .reduce((sum, count) => sum + count, 0);
  assert.equal(out, MAX_PEERS + 350);
});

test('label values from outside are escaped, cut, and always UTF-8', () => {
  const out = new Exposition();
  const value = `a"b\\c\nd\ud800${'x'.repeat(500)}`;
  out.family('gauge', 'waystation_x', 'back\\slash\nand line', [[{ code: value, empty: '' }, 1]]);
  const [help, , sample] = out.text().split('\n');
  assert.equal(help, '# HELP waystation_x back\\\\slash\\nand line');
  assert.match(sample!, /^waystation_x\{code="a\\"b\\\\c\\nd\ufffdx+"\} 1$/);
  assert.ok(sample!.length < 200);
});

test('promtool finds nothing to say about the metrics', { skip: NO_PROMTOOL }, () => {
  const bench = new Bench();
  const from = joinPhone(bench, 'na"s\\ty\n', { durable: true });
  joinPhone(bench, 'phones/1');
  from.port.deliver(inbound(position('alpha')));
  from.port.refused('malformed', 10);
  const text = metricsOf(bench);
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  assert.equal(`${stdout}${stderr}`, '');
  assert.equal(status, 0);
});

test('the process tells CPU, memory and how late its event loop is', async () => {
  const measures = new ProcessMeasures();
  assert.equal(measures.figures().loopDelay[100], 0);
  for (let late = 0; late < 100 && measures.figures().loopDelay[100] < 0.1; late++) {
    const until = performance.now() + 200;
    while (performance.now() < until);
    await new Promise((done) => setTimeout(done, 60));
  }
  const { cpuSeconds, rssBytes, heapUsedBytes, loopBusySeconds, loopDelay } = measures.figures();
  measures.stop();
  assert.ok(cpuSeconds > 0 && rssBytes > heapUsedBytes && loopBusySeconds > 0);
  assert.ok(loopDelay[100] >= 0.1 && loopDelay[100] >= loopDelay[99] && loopDelay[99] >= loopDelay[50]);
});
