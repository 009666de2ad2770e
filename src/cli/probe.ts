// `waystation probe`: is it flowing, how fast, and what would stop it.
import { parseArgs } from 'node:util';
import { printable } from '../config/problem.ts';
import type { Filter, ProbeHop, ProbeReport } from '../core/probe.ts';
import { API_HELP, API_OPTIONS, askJson, findApi } from './client.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { table } from './table.ts';

/** Three round trips of 10 s and a wait of 23 s, at the most. */
const TIMEOUT_MS = 60_000;
const MAX_SENTENCE = 1000;

export const probeCommand: Command = {
  name: 'probe',
  usage: 'PEER [--end-to-end] [--json] [--api URL]',
  summary: 'Send a marked event to a peer, see it come out, and name every filter that would stop others',
  help: [
    '  --end-to-end   also wait until an event from here was handed to a client over there. Clients are never sent the',
    '                 marked event, so this needs a real one while it waits (10 s), and a client that is connected there',
    '  --json         as JSON',
    API_HELP,
    '',
    'Exit code 0: the marked event came out (and, with --end-to-end, an event reached a client). 1: it did not.',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        json: { type: 'boolean', default: false },
        'end-to-end': { type: 'boolean', default: false },
      },
    });
    const [peer, ...more] = positionals;
    if (peer === undefined || more.length > 0)
      throw new UsageError('name one peer; "waystation node peers" lists them');
    const body = JSON.stringify({ peer, endToEnd: values['end-to-end'] });
    const request = { method: 'POST', body, type: 'application/json', timeoutMs: TIMEOUT_MS, signal: context.signal };
    const report = await askJson<ProbeReport>(await findApi(values, context), '/api/probe', request);
    context.out(values.json ? JSON.stringify(report, null, 2) : renderProbe(report));
    return report.arrived && report.delivered !== false ? EXIT.ok : EXIT.failed;
  },
};

export function renderProbe({ words, rttMs, clockOffsetMs, hops, filters }: ProbeReport): string {
  const lines = words.map((sentence) => printable(sentence, MAX_SENTENCE));
  if (rttMs !== null) lines.push(`round trip ${rttMs} ms, its clock ${clockWords(clockOffsetMs ?? 0, rttMs)}`);
  if (hops.length > 0) lines.push('', ...table(['FROM', 'TO', 'LATENCY', 'KNOWN'], hops.map(hopRow)));
  if (filters.length > 0) lines.push('', ...table(['AT', 'LINK', 'RULE', 'STOPS', 'WHY'], filters.map(filterRow)));
  return lines.join('\n');
}

/** Less than half a round trip, or a millisecond, cannot be told. */
function clockWords(offsetMs: number, rttMs: number): string {
  const sureMs = Math.max(1, rttMs / 2);
  if (Math.abs(offsetMs) <= sureMs) return `agrees with ours to ${sureMs.toFixed(1)} ms`;
  return `is ${Math.abs(offsetMs)} ms ${offsetMs < 0 ? 'behind' : 'ahead of'} ours`;
}

function hopRow({ from, to, ms, words }: ProbeHop): string[] {
  return [from, to, `${ms} ms`, words];
}

function filterRow({ at, link, rule, stops, words }: Filter): string[] {
  return [at, link, rule, stops.join(', '), words];
}
