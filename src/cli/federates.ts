// Federates let in by fingerprint, for `waystation federation peers` and `hops`: how they stand, and how far what goes out to them may
// travel.
import { type ApiTarget, askJson, sendJson } from './client.ts';
import { type CliContext, EXIT, UsageError } from './command.ts';
import { table } from './table.ts';

const WAYS = ['in', 'out', 'dp_in', 'dp_out'] as const;

interface Federate extends Readonly<Record<(typeof WAYS)[number], boolean>> {
  readonly name: string;
  readonly said_name: string | null;
  readonly fingerprint: string;
  readonly link: string;
  readonly connected: boolean;
  readonly group_hops: Readonly<Record<string, number>>;
  readonly max_hops_out: number;
}

export async function federates(api: ApiTarget, { signal, out }: CliContext): Promise<number> {
  const list = await askJson<readonly Federate[]>(api, '/api/federation/peers', { signal });
  if (list.length === 0) out('no federate is registered by its fingerprint');
  else for (const line of table(['NAME', 'LINK', 'STATE', 'CROSSES', 'HOPS', 'CERTIFICATE'], list.map(row))) out(line);
  return EXIT.ok;
}

/** `said`: GROUP=N each, all of them; `most`: in whatever group. Neither: no limits. */
export async function limitHops(
  api: ApiTarget,
  { name, said, most }: { readonly name: string; readonly said: readonly string[]; readonly most: string | undefined },
  context: CliContext,
): Promise<number> {
  const limits = {
    group_hops: Object.fromEntries(said.map(limitOf)),
    max_hops_out: most === undefined ? -1 : hops(most),
  };
  await sendJson(api, 'PATCH', `/api/federation/peers/${encodeURIComponent(name)}`, limits, context.signal);
  return federates(api, context);
}

/** A group may be called anything, so the last sign counts. */
function limitOf(said: string): readonly [string, number] {
  const at = said.lastIndexOf('=');
  if (at < 1) throw new UsageError(`say a limit as GROUP=N, not ${JSON.stringify(said.slice(0, 64))}`);
  return [said.slice(0, at), hops(said.slice(at + 1))];
}

function hops(said: string): number {
  if (/^-?\d{1,6}$/.test(said)) return Number(said);
  throw new UsageError(`hops are a number, not ${JSON.stringify(said.slice(0, 64))}`);
}

function row(one: Federate): readonly string[] {
  const ways = WAYS.filter((way) => one[way]).map((way) => way.replace('_', '-'));
  const groups = Object.entries(one.group_hops).map(([group, limit]) => `${group}=${limit}`);
  const limits = [...groups, ...(one.max_hops_out >= 0 ? [`at most ${one.max_hops_out}`] : [])];
  const state = one.connected ? 'connected' : 'away';
  const name = one.said_name === null ? one.name : `${one.name} (calls itself ${one.said_name})`;
  return [name, one.link, state, ways.join(' ') || 'paused', limits.join(', '), one.fingerprint];
}
