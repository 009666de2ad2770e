// The section `resources:` of the file: what this relay's peers may ask of it beyond its closed list. An entry with `to` maps
// a path to a local HTTP service; one of a path of the relay's own says who may use it.
import * as z from 'zod';

export const MAX_RESOURCES = 64;
const MAX_PEERS = 64;
const MAX_TEXT = 1024;

/** What every peer may read unless an entry of the same path says who. */
export const READABLE = ['/health', '/status', '/peers', '/units', '/links'] as const;
/** Passing requests on to a peer behind this relay: nobody may, unless an entry of this path or of /node/NAME says who. */
export const PASSING = '/node';
/** First names that the relay keeps for itself. */
const KEPT = ['probe', 'hub', 'tunnel', 'splice'];
export const METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'] as const;

/** Where a local HTTP service answers. */
export interface Service {
  readonly host: string;
  readonly port: number;
  /** Begins with a slash, does not end with one; '' for the root. */
  readonly base: string;
}

export interface ResourceEntry {
  /** `/iot`, `/iot/camera`: itself and all below it. The longest that fits counts. */
  readonly path: string;
  /** Undefined for a path of the relay's own. */
  readonly to?: Service | undefined;
  readonly methods: readonly string[];
  /** Names of peers, `hub/NAME` for NAME as the peer `hub` names it when it passes a request on, `*` for every peer. */
  readonly peers: readonly string[];
}

const path = z
  .string()
  .regex(/^(\/[a-z0-9][a-z0-9._-]{0,63}){1,4}$/, 'expected a path such as /iot: one to four names of a-z 0-9 . _ -')
  .describe('Where peers find it: /node/THIS-RELAY/iot over there is /iot here.');

const to = z
  .string()
  .max(MAX_TEXT)
  .transform((value, context): Service => {
    const found = parseService(value);
    if (typeof found !== 'string') return found;
    context.issues.push({ code: 'custom', message: found, input: value });
    return z.NEVER;
  })
  .describe('The local HTTP service behind it, such as http://127.0.0.1:8123/api.');

const peer = z
  .string()
  .regex(
    /^(\*|[^\p{C}/*]{1,64}(\/[^\p{C}/*]{1,64}){0,4})$/u,
    'expected a peer’s name, hub/NAME, or "*" for every peer',
  );

const entry = z
  .strictObject({
    path,
    to: to.optional(),
    methods: z
      .array(z.enum(METHODS))
      .min(1)
      .max(METHODS.length)
      .default(['GET'])
      .describe('What may be done with it. Default: only read.'),
    peers: z.array(peer).min(1).max(MAX_PEERS).describe('Which peers may.'),
  })
  .superRefine((raw, context) => {
    const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    const own = isOwn(raw.path);
    if (isKept(raw.path)) problem('path', 'the relay keeps this path for itself');
    else if (own && raw.to) problem('to', `${raw.path} is answered by the relay itself: leave "to" out`);
    else if (!own && !raw.to)
      problem('to', 'missing; the HTTP service that answers, such as http://127.0.0.1:8123/api');
    if (isReadable(raw.path) && raw.methods.some((method) => method !== 'GET'))
      problem('methods', `${raw.path} can only be read`);
  });

export const resources = z
  .array(entry)
  .max(MAX_RESOURCES)
  .nullish()
  .transform((value): readonly ResourceEntry[] => value ?? [])
  .describe('What peers may ask of this relay beyond health, status, peers, units and links.');

/** The address and path of an http URL, or what is wrong with it. */
function parseService(value: string): Service | string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== 'http:' || url.hostname === '') return 'expected a URL such as http://127.0.0.1:8123/api';
  if (url.username || url.password) return 'a name and password cannot be given here';
  if (url.search || url.hash) return 'a path may be given, but no ? and no #';
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 80 : Number(url.port),
    base: url.pathname.replace(/\/+$/, ''),
  };
}

function isReadable(path: string): boolean {
  return READABLE.some((one) => one === path);
}

function isOwn(path: string): boolean {
  return isReadable(path) || /^\/node(\/[^/]+)?$/.test(path);
}

/** Below a path of the relay's own there is nothing to map, either. */
function isKept(path: string): boolean {
  const first = path.split('/')[1]!;
  const own = first === 'node' || READABLE.some((one) => one === `/${first}`);
  return KEPT.includes(first) || (own && !isOwn(path));
}
