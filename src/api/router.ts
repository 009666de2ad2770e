// From an HTTP request to a route and back: place, caller, role, body, schemas, handler, answer. Every refusal is a problem with
// a code and is counted; a fault in a handler harms no other request.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import { problemWords } from '../config/problem.ts';
import { type ConfigRefusal, ConfigRefused } from '../config/refused.ts';
import { FileRefusal } from '../files/refusal.ts';
import type { Log } from '../lib/log.ts';
import { parseTarget, TARGET_WORDS, type Target } from '../lib/target.ts';
import { takeBody } from './body.ts';
import { checked } from './checked.ts';
import {
  callerOf,
  checkCsrf,
  checkMayChange,
  type GateDeps,
  isForeignSite,
  isNavigation,
  type ListenerKind,
  strangerOf,
} from './gate.ts';
import { json, passOver, problem, setCaution } from './http.ts';
import { REQUEST_TIMEOUT_MS } from './listener.ts';
import { Refusal } from './refusal.ts';
import { type Call, type Caller, mayAct, Reply, type Route } from './route.ts';

/** Codes counted apart; all are of our own making, so this is never reached. */
const MAX_CODES = 128;

/** What was asked and how it ended, for the audit: everything that could change something. */
export interface Deed {
  readonly caller: Caller | undefined;
  readonly address: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** '' when it was done. */
  readonly code: string;
  /** What changed, if the handler said. */
  readonly note: string;
}

export interface RouterDeps extends GateDeps {
  readonly routes: readonly Route[];
  readonly log: Log;
  /** How long a body may take to come, but for files. Default: REQUEST_TIMEOUT_MS. */
  readonly requestTimeoutMs?: number | undefined;
  /** Told of every request but plain looking. Must not throw. */
  onDeed(deed: Deed): void;
}

interface Found {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
  readonly rest: string;
}

export class Router {
  readonly #deps: RouterDeps;
  readonly #routes: readonly { readonly route: Route; readonly parts: readonly string[] }[];
  /** Requests answered, and those refused by code. */
  requests = 0;
  readonly refused: Record<string, number> = {};

  constructor(deps: RouterDeps) {
    this.#deps = deps;
    this.#routes = deps.routes.map((route) => ({ route, parts: route.path.split('/').filter((part) => part !== '') }));
  }

  /** Answers always; never throws. */
  handle(request: IncomingMessage, response: ServerResponse, kind: ListenerKind): void {
    this.requests++;
    setCaution(response);
    const controller = new AbortController();
    response.once('close', () => controller.abort());
    const trace: Trace = { caller: undefined, note: '' };
    this.#answer(request, kind, controller.signal, trace).then(
      (reply) => {
        send(response, reply);
        this.#tell(request, trace, reply.status, '');
      },
      (error: unknown) => {
        const refusal = this.#refusalOf(error, request, controller.signal);
        this.count(refusal.code);
        this.#tell(request, trace, refusal.status, refusal.code);
        if (response.headersSent || response.destroyed) return void response.destroy();
        passOver(request);
        problem(response, refusal);
      },
    );
  }

  /** A refusal made elsewhere: at a listener, at the WebSocket. */
  count(code: string): void {
    if (code in this.refused || Object.keys(this.refused).length < MAX_CODES) {
      this.refused[code] = (this.refused[code] ?? 0) + 1;
    }
  }

  async #answer(request: IncomingMessage, kind: ListenerKind, signal: AbortSignal, trace: Trace): Promise<Reply> {
    const target = targetOf(request);
    const method = request.method === 'HEAD' ? 'GET' : request.method!;
    const isOwn = this.#routes.some(({ route, parts }) => route.ownCredentials && match(parts, target.segments));
    const caller = isOwn ? strangerOf(request, this.#deps) : callerOf(request, kind, this.#deps);
    trace.caller = caller;
    const found = this.#find(method, target);
    const { route } = found;
    if (isForeignSite(request) && !(route.navigable && isNavigation(request))) {
      throw new Refusal(403, 'foreign_site', 'pages of other sites may not ask here');
    }
    if (route.method !== 'GET') checkMayChange(kind, caller, this.#deps);
    checkRole(caller, route);
    const body = await takeBody(request, route, this.#deps.requestTimeoutMs ?? REQUEST_TIMEOUT_MS);
    if (route.method !== 'GET') checkCsrf(request, caller, body);
    const call: Call<unknown, unknown, unknown> = {
      params: route.params ? checked(route.params, found.params, 'the path') : {},
      query: route.query ? checked(route.query, queryOf(target), 'the query') : {},
      body:
        route.body && route.bodyKind !== 'bytes' && route.bodyKind !== 'file'
          ? checked(route.body, withoutCsrf(route, body), 'the body')
          : body,
      caller,
      request,
      rawQuery: target.query,
      rest: found.rest,
      signal,
      note: (words) => {
        trace.note = words;
      },
    };
    const answer = await route.handle(call);
    return answer instanceof Reply ? answer : new Reply(route.status ?? 200, answer);
  }

  #find(method: string, target: Target): Found {
    const allowed: string[] = [];
    for (const { route, parts } of this.#routes) {
      const params = match(parts, target.segments);
      if (!params) continue;
      if (route.method === method) {
        const rest = parts.at(-1)?.endsWith('+}') ? target.path.split('/').slice(parts.length).join('/') : '';
        return { route, params, rest };
      }
      allowed.push(route.method);
    }
    if (allowed.length === 0) {
      throw new Refusal(404, 'not_found', 'there is nothing at this path', {
        fix: '/api/openapi.json lists what there is',
      });
    }
    if (allowed.includes('GET')) allowed.unshift('HEAD');
    const allow = [...new Set(allowed)].join(', ');
    throw new Refusal(405, 'method_not_allowed', `only ${allow} is allowed here`, { headers: { allow } });
  }

  #refusalOf(error: unknown, request: IncomingMessage, signal: AbortSignal): Refusal {
    if (error instanceof Refusal) return error;
    if (error instanceof ConfigRefused) return configRefusal(error);
    if (error instanceof FileRefusal) return new Refusal(error.status, error.code, error.message);
    if (signal.aborted) return new Refusal(499, 'client_gone', 'the connection ended before the request did');
    this.#deps.log.error({ err: error, method: request.method, url: request.url }, 'a fault while answering');
    return new Refusal(500, 'internal_error', 'a fault in this relay; its log has the details');
  }

  #tell(request: IncomingMessage, { caller, note }: Trace, status: number, code: string): void {
    const looked = request.method === 'GET' || request.method === 'HEAD';
    if (looked && status !== 401 && status !== 403 && status !== 429) return;
    const address = caller?.address ?? request.socket.remoteAddress ?? '';
    const path = (request.url ?? '').split('?', 1)[0]!;
    this.#deps.onDeed({ caller, address, method: request.method ?? '', path, status, code, note });
  }
}

const CONFIG_STATUS: Readonly<Record<ConfigRefusal, number>> = {
  config_changed_meanwhile: 409,
  link_exists: 409,
  config_bad: 422,
  config_not_applied: 422,
  edit_by_hand: 422,
  unknown_link: 404,
  unknown_network: 404,
  same_network: 400,
  unknown_version: 404,
  config_not_written: 500,
};

function configRefusal({ code, message, fix, problems }: ConfigRefused): Refusal {
  const errors = problems.map((one) => ({ field: one.path, line: one.line, words: problemWords(one) }));
  return new Refusal(CONFIG_STATUS[code], code, message, { fix, more: errors.length > 0 ? { errors } : {} });
}

interface Trace {
  caller: Caller | undefined;
  note: string;
}

function targetOf({ url = '' }: IncomingMessage): Target {
  const target = parseTarget(url);
  if (target) return target;
  throw new Refusal(url.length > 2048 ? 414 : 400, 'bad_path', TARGET_WORDS);
}

/** Undefined: another path. `{name}` takes one segment, `{name+}` all that follow. */
function match(parts: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  const open = parts.at(-1)?.endsWith('+}') ?? false;
  if (open ? segments.length < parts.length - 1 : segments.length !== parts.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of parts.entries()) {
    if (part.endsWith('+}')) break;
    const segment = segments[index]!;
    if (part.startsWith('{')) params[part.slice(1, -1)] = segment;
    else if (part !== segment) return undefined;
  }
  return params;
}

function checkRole(caller: Caller, route: Route): void {
  if (mayAct(caller.role, route.role)) return;
  if (caller.by === 'nobody' || caller.by === 'local') {
    throw new Refusal(401, 'login_needed', `this needs a login with the role ${route.role}`, {
      fix: 'send "Authorization: Bearer TOKEN"; POST /api/login or "waystation token create" gives one. On the box itself the command line needs none',
      headers: { 'www-authenticate': 'Bearer' },
    });
  }
  throw new Refusal(403, 'role_too_low', `this needs the role ${route.role}, ${caller.name} has ${caller.role}`);
}

/** Each parameter once. */
function queryOf({ query }: Target): Record<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (values.has(name))
      throw new Refusal(400, 'bad_value', `the query: ${JSON.stringify(name.slice(0, 64))} stands there twice`);
    values.set(name, value);
  }
  return Object.fromEntries(values);
}

/** A form's hidden field is not the schema's business. */
function withoutCsrf({ bodyKind }: Route, body: unknown): unknown {
  if (bodyKind !== 'form' || typeof body !== 'object' || body === null) return body;
  const { csrf: _, ...rest } = body as Record<string, unknown>;
  return rest;
}

function send(response: ServerResponse, { status, body, headers, raw }: Reply): void {
  if (response.destroyed) return void (body instanceof Readable && body.destroy());
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (!raw && body !== undefined) return json(response, status, body);
  if (body instanceof Readable) return stream(response, status, body);
  const bytes = typeof body === 'string' ? Buffer.from(body) : (body as Buffer | undefined);
  const length = status === 204 || status === 304 ? {} : { 'content-length': bytes?.length ?? 0 };
  response.writeHead(status, length);
  response.end(bytes);
}

/** As fast as it is read; where it breaks off, so does the connection: nobody takes the half for the whole. */
function stream(response: ServerResponse, status: number, body: Readable): void {
  response.writeHead(status);
  if (response.req.method === 'HEAD') {
    body.destroy();
    return void response.end();
  }
  pipeline(body, response, (error) => {
    if (error) response.destroy();
  });
}
