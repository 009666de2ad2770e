// `waystation node`: how the peers stand, and what they let us read and do.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { NodeStatus } from '../core/fleet.ts';
import type { NodePeer } from '../core/node.ts';
import { FatalError } from '../lib/errors.ts';
import { parseTarget, TARGET_WORDS } from '../lib/target.ts';
import { API_HELP, API_OPTIONS, type ApiAnswer, type ApiChoice, askApi, askJson, findApi, refusal } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { duration } from './status.ts';
import { table } from './table.ts';

const STATUS_TIMEOUT_MS = 5_000;
/** A peer has 30 s to answer. */
const CALL_TIMEOUT_MS = 40_000;
const METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'];
const MAX_COLUMNS = 8;

export const nodeCommand: Command = {
  name: 'node',
  usage: 'peers | status | ls PEER [PATH] | get PEER PATH | call PEER METHOD PATH [BODY|-]',
  summary: 'Other relays: how they stand, what they let us read, what stands behind them',
  help: [
    '  peers                 name, host, port, way, status and latency of every peer',
    '  status                how many are connected, how much crossed, who was last heard when',
    '  ls PEER [PATH]        what there is to read at the peer, or below the path',
    '  get PEER PATH         read: /health /status /peers /units /links, and what the peer\'s "resources" map;',
    '                        /node/OTHER/PATH reads at a peer of that peer, where it passes requests on',
    '  call PEER METHOD PATH [BODY|-]   GET, PUT, POST, DELETE or PATCH, where the peer allows it to this relay;',
    '                        the body as text, or - for standard input',
    '',
    '  --type TYPE   media type of the body (default application/json)',
    '  --out FILE    write the answer into a file: pictures and the like',
    '  --json        peers and status as JSON',
    API_HELP,
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        json: { type: 'boolean', default: false },
        out: { type: 'string' },
        type: { type: 'string', default: 'application/json' },
      },
    });
    const [what = '', ...rest] = positionals;
    const command = Object.hasOwn(COMMANDS, what) ? COMMANDS[what] : undefined;
    if (!command) throw new UsageError('say peers, status, ls, get or call');
    return command(rest, values, context);
  },
};

interface Options extends ApiChoice {
  readonly json: boolean;
  readonly out?: string | undefined;
  readonly type: string;
}

type Sub = (args: readonly string[], options: Options, context: CliContext) => Promise<number>;

const COMMANDS: Readonly<Record<string, Sub>> = {
  async peers(args, options, context) {
    none(args);
    const { peers } = await nodeStatus(options, context);
    context.out(options.json ? JSON.stringify(peers, null, 2) : renderPeers(peers));
    return EXIT.ok;
  },
  async status(args, options, context) {
    none(args);
    const status = await nodeStatus(options, context);
    context.out(options.json ? JSON.stringify(status, null, 2) : renderNodeStatus(status, Date.now()));
    return EXIT.ok;
  },
  async ls([peer, path = '/', ...more], options, context) {
    none(more);
    const answer = await call({ peer, method: 'GET', path }, options, context);
    if (answer.type !== 'application/json') return show(answer, options, context);
    context.out(renderList(JSON.parse(answer.body.toString('utf8'))));
    return EXIT.ok;
  },
  async get([peer, path, ...more], options, context) {
    none(more);
    return show(await call({ peer, method: 'GET', path }, options, context), options, context);
  },
  async call([peer, method, path, body, ...more], options, context) {
    none(more);
    const upper = method?.toUpperCase() ?? '';
    if (!METHODS.includes(upper)) throw new UsageError(`the method is one of ${METHODS.join(', ')}`);
    const bytes = body === '-' ? await context.readStdin() : body;
    return show(await call({ peer, method: upper, path, body: bytes }, options, context), options, context);
  },
};

function none(more: readonly string[]): void {
  if (more.length > 0) throw new UsageError(`too many words: ${more.join(' ')}`);
}

async function nodeStatus(options: Options, context: CliContext): Promise<NodeStatus> {
  const request = { timeoutMs: STATUS_TIMEOUT_MS, signal: context.signal };
  return askJson<NodeStatus>(await findApi(options, context), '/api/node', request);
}

interface Call {
  readonly peer: string | undefined;
  readonly method: string;
  readonly path: string | undefined;
  readonly body?: Buffer | string | undefined;
}

/** The peer's good answer; any other is thrown in its words. */
async function call({ peer, method, path, body }: Call, options: Options, context: CliContext): Promise<ApiAnswer> {
  if (!peer) throw new UsageError('name a peer; "waystation node peers" lists them');
  if (!path) throw new UsageError('name a path, such as /health; "waystation node ls PEER" lists them');
  const target = path.replace(/[^\x21-\x7e]/gu, escaped);
  // Checked here already: on the way to the relay ".." would be resolved and mean something else.
  if (!parseTarget(target)) throw new UsageError(TARGET_WORDS);
  const content = body === undefined || method === 'GET' ? {} : { body, type: options.type };
  const request = { method, timeoutMs: CALL_TIMEOUT_MS, signal: context.signal, ...content };
  const url = `/api/node/${encodeURIComponent(peer)}${target}`;
  const answer = await askApi(await findApi(options, context), url, request);
  if (answer.status < 200 || answer.status > 299) throw refusal(answer);
  return answer;
}

/** Spaces and letters beyond ASCII may be typed as they are. Half a character stays, and is refused. */
function escaped(character: string): string {
  return /[\p{Cc}\p{Cs}]/u.test(character) ? character : encodeURIComponent(character);
}

function show({ body, type }: ApiAnswer, { out }: Options, context: CliContext): number {
  if (out !== undefined) {
    save(out, body);
    context.out(`${body.length} bytes written to ${out}`);
    return EXIT.ok;
  }
  if (body.length > 0 && !/^text\/|json$|xml$/.test(type)) {
    const words = `the answer is ${body.length} bytes of ${type || 'no known type'}`;
    throw new FatalError('not_text', words, 'name a file for it with --out FILE');
  }
  const text = body.toString('utf8').trimEnd();
  context.out(context.stdoutIsTerminal ? harmless(text) : text);
  return EXIT.ok;
}

function save(path: string, body: Buffer): void {
  try {
    writeFileSync(path, body);
  } catch (error) {
    const { message } = error as Error;
    throw new FatalError('not_written', `cannot write ${path}: ${message}`, 'name a file that may be written', error);
  }
}

/** Without what would move the cursor or worse: the text comes from another box. */
function harmless(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
}

/** NAME HOST PORT VIA STATUS LATENCY. */
export function renderPeers(peers: readonly NodePeer[]): string {
  const rows = peers.map(({ name, host, port, via, status, latencyMs }) => [
    name,
    host,
    port > 0 ? String(port) : '',
    via,
    status,
    latencyMs === null ? '' : `${latencyMs < 10 ? latencyMs.toFixed(1) : Math.round(latencyMs)} ms`,
  ]);
  return table(['NAME', 'HOST', 'PORT', 'VIA', 'STATUS', 'LATENCY'], rows).join('\n');
}

export function renderNodeStatus({ name, id, peers }: NodeStatus, nowMs: number): string {
  const connected = peers.filter(({ status }) => status === 'connected').length;
  const sum = (field: 'messagesSent' | 'messagesReceived') => peers.reduce((total, peer) => total + peer[field], 0);
  const rows = peers.map((peer) => [
    peer.name,
    peer.status,
    String(peer.messagesSent),
    String(peer.messagesReceived),
    peer.lastContactMs === null ? 'never' : `${duration(Math.max(0, nowMs - peer.lastContactMs))} ago`,
  ]);
  return [
    `${name} (${id})`,
    `peers: ${connected} connected, ${peers.length - connected} disconnected`,
    `messages: ${sum('messagesSent')} sent, ${sum('messagesReceived')} received`,
    ...(peers.length > 0 ? ['', ...table(['NAME', 'STATUS', 'SENT', 'RECEIVED', 'LAST CONTACT'], rows)] : []),
  ].join('\n');
}

/** Whatever a peer lists: its resources, or the longest list in the answer, or the answer's names. */
export function renderList(answer: unknown): string {
  if (typeof answer !== 'object' || answer === null) return table([String(answer)], []).join('\n');
  if (Array.isArray(answer)) return renderRows(answer);
  const lists = Object.values(answer).filter((value) => Array.isArray(value));
  const [longest] = lists.sort((a, b) => b.length - a.length);
  if (longest) return renderRows(longest);
  return table(
    ['NAME', 'VALUE'],
    Object.entries(answer).map(([name, value]) => [name, cell(value)]),
  ).join('\n');
}

function renderRows(rows: readonly unknown[]): string {
  const records = rows.filter((row) => typeof row === 'object' && row !== null) as Record<string, unknown>[];
  if (records.length === 0 || records.length < rows.length)
    return table(
      ['NAME'],
      rows.map((row) => [cell(row)]),
    ).join('\n');
  const columns = Object.keys(records[0]!).slice(0, MAX_COLUMNS);
  return table(
    columns.map((column) => column.toUpperCase()),
    records.map((record) => columns.map((column) => cell(record[column]))),
  ).join('\n');
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map(cell).join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
