// For tests of /metrics: renders a hub, and reads samples back.
import { metricsText } from '../../src/api/prometheus.ts';
import { NO_BUDGET } from '../../src/core/budget.ts';
import { departedStatus, peerStatus, type RelayStatus, totals } from '../../src/core/status.ts';
import type { Bench } from '../core/support.ts';

/** A status with something in every part. */
export function statusOf({ hub, clock }: Bench): RelayStatus {
  const warning = { code: 'clock_unset', words: 'the clock was never set', fix: 'set it' };
  return {
    name: 'relay-a',
    id: 'id-a',
    version: '1.2.3',
    commit: 'abc',
    now: new Date(clock.wallMs()).toISOString(),
    startedAt: new Date(clock.wallMs() - 60_000).toISOString(),
    uptimeMs: 60_000,
    caFingerprint: '',
    federationFingerprint: '',
    certificates: [{ what: 'server', notAfter: new Date(clock.wallMs() + 86_400_000).toISOString(), daysLeft: 1 }],
    links: [
      {
        name: 'phones',
        kind: 'cot',
        enabled: true,
        state: 'listening',
        detail: '',
        sinceMs: 0,
        refusals: { not_trusted: 3 },
        budget: { ...NO_BUDGET, usedTodayBytes: 7, closedLanes: [] },
      },
    ],
    peers: hub.peers().map((peer) => peerStatus(peer, clock)),
    departed: departedStatus(hub),
    totals: totals(hub),
    units: hub.picture.units,
    contacts: hub.picture.contacts,
    warnings: [warning],
    files: {
      ...{ files: 2, bytes: 30, quota: 100, offers: 1, refused: { hash_wrong: 4 } },
      transfers: [
        {
          ...{ hash: 'abcdef012345', name: 'photo.jpg', direction: 'in', peer: 'hub' },
          ...{ size: 10, got: 5, rate: 1, state: 'moving', words: '' },
        },
      ],
      totals: { in: { whole: 3, failed: 1, bytes: 20 }, out: { whole: 0, failed: 0, bytes: 0 } },
    },
    memory: { rssBytes: 1 },
    host: { temperatureC: 51.5, underVoltage: false, storage: { freeBytes: 5, totalBytes: 10 }, wear: null },
    words: { drop: {}, close: {} } as RelayStatus['words'],
  };
}

export function metricsOf(bench: Bench): string {
  return metricsText({
    status: statusOf(bench),
    timings: bench.hub.timings,
    process: {
      cpuSeconds: 1.5,
      loopBusySeconds: 1,
      rssBytes: 3,
      heapUsedBytes: 2,
      externalBytes: 1,
      loopDelay: { 50: 0, 99: 0.01, 100: 0.02 },
    },
  });
}

/** The value of the one sample that has these labels, among others. */
export function sampleOf(text: string, name: string, labels: Readonly<Record<string, string>>): number | undefined {
  const found = text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)));
  return found.length === 1 ? Number(found[0]!.split(' ').at(-1)) : undefined;
}

/** Some points of the histogram of a class. */
export function rate(text: string, name: string, lane: string) {
  const labels = { class: lane };
  const bounds = ['0.001', '2.5', '5', '+Inf'] as const;
  return {
    count: sampleOf(text, `${name}_count`, labels),
    sum: sampleOf(text, `${name}_sum`, labels),
    upTo: Object.fromEntries(bounds.map((le) => [le, sampleOf(text, `${name}_bucket`, { ...labels, le })])),
  };
}
