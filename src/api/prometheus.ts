// GET /metrics: the status as Prometheus reads it.
//
// Few series, whatever comes and goes: a peer that stays (one we dial, a federate) is a label value of its own, up to
// MAX_PEERS of them; clients of a listener are one, `LINK/*`, with those that left and the peers beyond the bound.

import type { FilesStatus, FileTransfer } from '../core/files-status.ts';
import { LANES } from '../core/message.ts';
import type { DepartedStatus, PeerStatus, RelayStatus } from '../core/status.ts';
import type { Histogram, Timings } from '../core/timings.ts';
import { Exposition, type HistogramSample, type Labels } from './exposition.ts';
import type { CallCount } from './federation-calls.ts';
import type { ProcessFigures } from './process-measures.ts';
import type { ApiCounters } from './server.ts';

/** Peers that are label values of their own. */
export const MAX_PEERS = 256;

export interface MetricsInput {
  /** Of the API itself. */
  readonly api?: ApiCounters;
  /** Requests between relays and partners. */
  readonly calls?: readonly CallCount[];
  readonly status: RelayStatus;
  readonly timings: Pick<Timings, 'age' | 'relay' | 'endToEnd'>;
  readonly process: ProcessFigures;
}

type Sample = readonly [Labels, number | null | undefined];

/** One value of the label `peer`: a peer, or the sum of several of one link. */
interface Subject {
  readonly labels: { readonly peer: string; readonly link: string };
  readonly peers: readonly PeerStatus[];
  readonly departed: readonly DepartedStatus[];
  readonly isSum: boolean;
}

export function metricsText({ status, timings, process, api, calls = [] }: MetricsInput): string {
  const out = new Exposition();
  const subjects = subjectsOf(status);
  relay(out, status);
  host(out, status);
  links(out, status);
  peers(out, subjects);
  traffic(out, subjects);
  queues(out, subjects);
  latencies(out, timings);
  processFigures(out, process);
  if (status.files) files(out, status.files);
  if (api) apiFigures(out, api);
  out.family(
    'counter',
    'waystation_federation_calls_total',
    'Requests to peers and partners (direction out) and from them (in), by how they ended.',
    calls.map(({ count, ...labels }): Sample => [{ ...labels }, count]),
  );
  return out.text();
}

/** Who asks this API, and who is refused and why. */
function apiFigures(out: Exposition, { requests, refused, watchers }: ApiCounters): void {
  out.family('counter', 'waystation_api_requests_total', 'Requests to the API.', [[{}, requests]]);
  const codes = Object.entries(refused).map(([code, count]) => [{ code }, count] as const);
  out.family('counter', 'waystation_api_refused_total', 'Requests and connections the API refused, by code.', codes);
  out.family('gauge', 'waystation_api_watchers', 'Watchers of live events.', [[{}, watchers]]);
}

/** Data packages and photos: what is kept, what came and went, what was refused and why. */
function files(out: Exposition, { files, bytes, quota, transfers, totals, refused }: FilesStatus): void {
  const directions = ['in', 'out'] as const;
  out.family('gauge', 'waystation_files', 'Files that are kept.', [[{}, files]]);
  out.family('gauge', 'waystation_files_stored_bytes', 'Bytes of the files that are kept.', [[{}, bytes]]);
  out.family('gauge', 'waystation_files_quota_bytes', 'Most bytes of files that are kept.', [[{}, quota]]);
  out.family(
    'counter',
    'waystation_files_refused_total',
    'Files and requests for files that were refused, by reason.',
    Object.entries(refused).map(([reason, count]): Sample => [{ reason }, count]),
  );
  out.family(
    'gauge',
    'waystation_files_transfers',
    'Files on their way.',
    directions.map((direction): Sample => [{ direction }, transfers.filter(underWay(direction)).length]),
  );
  out.family(
    'counter',
    'waystation_files_transfers_total',
    'Transfers of files that ended.',
    directions.flatMap((direction): Sample[] => [
      [{ direction, result: 'whole' }, totals[direction].whole],
      [{ direction, result: 'failed' }, totals[direction].failed],
    ]),
  );
  out.family(
    'counter',
    'waystation_files_bytes_total',
    'Bytes of files that came or went.',
    directions.map((direction): Sample => [{ direction }, totals[direction].bytes]),
  );
}

const underWay = (direction: FileTransfer['direction']) => (transfer: FileTransfer) =>
  transfer.direction === direction && transfer.state !== 'whole' && transfer.state !== 'failed';

function subjectsOf({ peers, departed }: RelayStatus): readonly Subject[] {
  const own = new Set(peers.filter(({ durable }) => durable).slice(0, MAX_PEERS));
  const rest = peers.filter((peer) => !own.has(peer));
  const links = new Set([...rest, ...departed].map(({ link }) => link));
  return [
    ...Array.from(own, (peer) => ({
      labels: { peer: peer.key, link: peer.link },
      peers: [peer],
      departed: [],
      isSum: false,
    })),
    ...Array.from(links, (link) => ({
      labels: { peer: `${link}/*`, link },
      peers: rest.filter((peer) => peer.link === link),
      departed: departed.filter((gone) => gone.link === link),
      isSum: true,
    })),
  ];
}

function relay(out: Exposition, status: RelayStatus): void {
  const { name, id, version, commit, uptimeMs, startedAt, certificates, now } = status;
  const left = (notAfter: string) => (Date.parse(notAfter) - Date.parse(now)) / 1000;
  out.family('gauge', 'waystation_up', 'This relay runs; who and what it is.', [[{ name, id, version, commit }, 1]]);
  out.family('gauge', 'waystation_uptime_seconds', 'For how long it has run.', [[{}, uptimeMs / 1000]]);
  out.family('gauge', 'waystation_start_time_seconds', 'When it was started, Unix time.', [
    [{}, Date.parse(startedAt) / 1000],
  ]);
  out.family('gauge', 'waystation_units', 'Units whose position is known.', [[{}, status.units]]);
  out.family('gauge', 'waystation_contacts', 'Contacts that can be addressed.', [[{}, status.contacts]]);
  out.family(
    'gauge',
    'waystation_certificate_remaining_seconds',
    'For how long a certificate of this box is still valid.',
    certificates.map(({ what, notAfter }): Sample => [{ certificate: what }, left(notAfter)]),
  );
  const codes = new Set(status.warnings.map(({ code }) => code));
  out.family('gauge', 'waystation_warnings', 'Warnings that stand; their codes name what to do.', [
    [{}, status.warnings.length],
  ]);
  out.family(
    'gauge',
    'waystation_warning',
    '1 for every kind of warning that stands.',
    Array.from(codes, (code): Sample => [{ code }, 1]),
  );
}

function host(out: Exposition, { host }: RelayStatus): void {
  const { temperatureC, underVoltage, storage, wear } = host;
  out.family('gauge', 'waystation_temperature_celsius', 'Of the processor.', [[{}, temperatureC]]);
  out.family('gauge', 'waystation_under_voltage', '1: the power supply is or was too weak since the board started.', [
    [{}, underVoltage === null ? null : Number(underVoltage)],
  ]);
  out.family('gauge', 'waystation_storage_free_bytes', 'Free where our state is kept.', [[{}, storage?.freeBytes]]);
  out.family('gauge', 'waystation_storage_size_bytes', 'Size of the file system that holds our state.', [
    [{}, storage?.totalBytes],
  ]);
  out.family(
    'counter',
    'waystation_storage_written_bytes_total',
    'Written to that file system since it was made (ext4).',
    [[{}, wear?.writtenBytes]],
  );
  out.family(
    'gauge',
    'waystation_storage_life_used_ratio',
    'Of the life of the memory under it, as its maker reckons (eMMC).',
    [[{}, wear?.lifeUsedPercent ? wear.lifeUsedPercent / 100 : null]],
  );
}

function links(out: Exposition, { links }: RelayStatus): void {
  out.family(
    'gauge',
    'waystation_link_up',
    '1 while the link listens or is connected; links that are switched off are left out.',
    links
      .filter(({ enabled }) => enabled)
      .map(({ name, kind, state }): Sample => [{ link: name, kind }, Number(UP_STATES.has(state))]),
  );
  out.family(
    'gauge',
    'waystation_link_used_today_bytes',
    'What the link’s line has cost since midnight UTC.',
    links.map(({ name, budget }): Sample => [{ link: name }, budget?.usedTodayBytes]),
  );
  out.family(
    'counter',
    'waystation_link_refusals_total',
    'Strangers turned away, by reason.',
    links.flatMap(({ name, refusals }) =>
      Object.entries(refusals).map(([reason, count]): Sample => [{ link: name, reason }, count]),
    ),
  );
}

const UP_STATES: ReadonlySet<string> = new Set(['listening', 'connected']);

function peers(out: Exposition, subjects: readonly Subject[]): void {
  const single = subjects.filter(({ isSum }) => !isSum);
  const each = (pick: (peer: PeerStatus) => number | null) =>
    single.map(({ labels, peers }): Sample => [labels, pick(peers[0]!)]);
  out.family(
    'gauge',
    'waystation_peers_connected',
    'Connections that are up. For LINK/*: of all its clients.',
    subjects.map(({ labels, peers }): Sample => [labels, peers.filter(({ connected }) => connected).length]),
  );
  out.family(
    'counter',
    'waystation_sessions_total',
    'Connections that came up.',
    each(({ sessions }) => sessions),
  );
  out.family(
    'gauge',
    'waystation_peer_round_trip_seconds',
    'Round trip to the peer, measured on its connection.',
    each(({ rttMs }) => seconds(rttMs)),
  );
  out.family(
    'gauge',
    'waystation_peer_last_heard_age_seconds',
    'For how long nothing came from the peer.',
    each(({ lastHeardMsAgo }) => seconds(lastHeardMsAgo)),
  );
  out.family(
    'gauge',
    'waystation_newest_fix_age_seconds',
    'Age of the newest position that the peer has, since it was received here. For LINK/*: the oldest of its clients.',
    subjects.map(
      ({ labels, peers }): Sample => [labels, seconds(oldest(peers.map((peer) => peer.newestArrivedMsAgo)))],
    ),
  );
}

function traffic(out: Exposition, subjects: readonly Subject[]): void {
  out.family('counter', 'waystation_events_total', 'Messages let in from a peer, and handed to it.', events(subjects));
  out.family(
    'counter',
    'waystation_received_bytes_total',
    'Bytes of what came from a peer, let in or not.',
    subjects.map(
      ({ labels, peers, departed }): Sample => [labels, sum([...peers, ...departed], (of) => of.received.bytes)],
    ),
  );
  out.family(
    'counter',
    'waystation_events_dropped_total',
    'Messages not forwarded, by reason: direction in, refused from the peer; direction out, not sent to it.',
    drops(subjects),
  );
}

function* events(subjects: readonly Subject[]): Iterable<Sample> {
  for (const { labels, peers, departed } of subjects) {
    for (const [index, lane] of LANES.entries()) {
      const of = [...peers, ...departed].map(({ lanes }) => lanes[index]!);
      yield [{ ...labels, class: lane, direction: 'in' }, sum(of, ({ received }) => received)];
      yield [{ ...labels, class: lane, direction: 'out' }, sum(of, ({ sent }) => sent)];
    }
  }
}

function* drops(subjects: readonly Subject[]): Iterable<Sample> {
  for (const { labels, peers, departed } of subjects) {
    const all = [...peers, ...departed];
    for (const [reason, count] of added(all.map(({ received }) => received.refused))) {
      yield [{ ...labels, class: '', direction: 'in', reason }, count];
    }
    for (const [index, lane] of LANES.entries()) {
      for (const [reason, count] of added(all.map(({ lanes }) => lanes[index]!.dropped))) {
        yield [{ ...labels, class: lane, direction: 'out', reason }, count];
      }
    }
  }
}

function queues(out: Exposition, subjects: readonly Subject[]): void {
  const byLane = function* (pick: (lanes: readonly PeerStatus['lanes'][number][]) => number | null): Iterable<Sample> {
    for (const { labels, peers } of subjects) {
      for (const [index, lane] of LANES.entries()) {
        yield [{ ...labels, class: lane }, pick(peers.map(({ lanes }) => lanes[index]!))];
      }
    }
  };
  out.family(
    'gauge',
    'waystation_queue_events',
    'Messages that wait for the peer.',
    byLane((lanes) => sum(lanes, ({ queued }) => queued)),
  );
  out.family(
    'gauge',
    'waystation_queue_oldest_seconds',
    'For how long the oldest of them has waited; 0: none waits.',
    byLane((lanes) => (oldest(lanes.map(({ oldestMs }) => oldestMs)) ?? 0) / 1000),
  );
  out.family(
    'gauge',
    'waystation_outbox_messages',
    'Messages that must not be lost and are not known to have arrived: on disk until they have.',
    subjects
      .filter(({ peers }) => peers.some(({ outbox }) => outbox !== null))
      .map(({ labels, peers }): Sample => [labels, sum(peers, ({ outbox }) => outbox?.messages ?? 0)]),
  );
  out.family(
    'gauge',
    'waystation_queue_bytes',
    'Bytes that wait for the peer.',
    subjects.map(({ labels, peers }): Sample => [labels, sum(peers, ({ queuedBytes }) => queuedBytes)]),
  );
}

function latencies(out: Exposition, { age, relay, endToEnd }: MetricsInput['timings']): void {
  const all = (lanes: readonly Histogram[]) =>
    lanes.map((histogram, lane): readonly [Labels, HistogramSample] => [
      { class: LANES[lane]! },
      {
        bounds: histogram.boundsMs.map((ms) => ms / 1000),
        counts: histogram.counts,
        sum: histogram.sumMs / 1000,
      },
    ]);
  out.histograms('waystation_event_age_seconds', 'From an event’s own time to its receipt here.', all(age));
  out.histograms('waystation_relay_latency_seconds', 'From receipt here to a peer’s wire.', all(relay));
  out.histograms('waystation_end_to_end_seconds', 'From an event’s own time to a peer’s wire.', all(endToEnd));
}

function processFigures(out: Exposition, figures: ProcessFigures): void {
  out.family('counter', 'waystation_cpu_seconds_total', 'CPU time used.', [[{}, figures.cpuSeconds]]);
  out.family('counter', 'waystation_event_loop_busy_seconds_total', 'Time the event loop was not idle.', [
    [{}, figures.loopBusySeconds],
  ]);
  out.family('gauge', 'waystation_memory_bytes', 'Memory in use, by part: resident has the others in it.', [
    [{ part: 'resident' }, figures.rssBytes],
    [{ part: 'heap' }, figures.heapUsedBytes],
    [{ part: 'external' }, figures.externalBytes],
  ]);
  out.family(
    'gauge',
    'waystation_event_loop_delay_seconds',
    'How late the event loop was in the last minute or two, by percentile.',
    Object.entries(figures.loopDelay).map(([percentile, delay]): Sample => [{ percentile }, delay]),
  );
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

function oldest(ages: readonly (number | null)[]): number | null {
  return ages.reduce((a, b) => (a === null ? b : b === null ? a : Math.max(a, b)), null);
}

function sum<T>(of: readonly T[], pick: (one: T) => number): number {
  return of.reduce((total, one) => total + pick(one), 0);
}

function added(counts: readonly Readonly<Record<string, number>>[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const each of counts) {
    for (const [reason, count] of Object.entries(each)) sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  return sums;
}
