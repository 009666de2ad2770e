// What a route is: its place, who may, and zod schemas that check what comes in, type the handler, and become the OpenAPI
// document. Routes are plain data; router.ts runs them.
import type { IncomingMessage } from 'node:http';
import * as z from 'zod';

/** Least first. `public`: anybody who reaches the port. */
export const ROLES = ['public', 'viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export function mayAct(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** Who asks. */
export interface Caller {
  /** For the audit: a user, a token's name, `local` on the socket, `this computer`, `anybody`. */
  readonly name: string;
  readonly role: Role;
  readonly by: 'nobody' | 'local' | 'socket' | 'session' | 'token';
  /** IP address; '' on the socket. */
  readonly address: string;
  /** The secret it was authenticated with, so that it can be ended; '' when there is none. */
  readonly credential: string;
  /** What forms of the page must send back; '' unless a page's session asks. */
  readonly csrf: string;
}

export interface Call<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly caller: Caller;
  readonly request: IncomingMessage;
  /** What stands behind the `?`, as it came, with it; or ''. */
  readonly rawQuery: string;
  /** For `{name+}` at the end of a path: the rest of the path as it came. */
  readonly rest: string;
  /** Aborted when the client goes. */
  readonly signal: AbortSignal;
  /** What this request changed, in words, for the audit. */
  note(words: string): void;
}

/** An answer that is not the plain 200 with JSON. */
export class Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A Buffer, text or Readable goes as it is, anything else as JSON; undefined: no body. */
  readonly body: unknown;
  readonly raw: boolean;

  constructor(
    status: number,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
    raw: 'raw' | 'json' = 'json',
  ) {
    this.status = status;
    this.body = body;
    this.headers = headers;
    this.raw = raw === 'raw';
  }
}

/** Text or bytes of some media type. */
export function raw(body: string | Buffer, type: string, headers: Readonly<Record<string, string>> = {}): Reply {
  return new Reply(200, body, { 'content-type': type, ...headers }, 'raw');
}

/**
 * How a body is read. `json`: checked by the schema; `form`: the same, from a page's form; `bytes`: whatever it is; `file`: an Upload, of
 * which the handler takes what it wants.
 */
export type BodyKind = 'none' | 'json' | 'form' | 'bytes' | 'file';

/** A file on its way in: the bare body, or in a page's form behind the session's secret. */
export interface Upload {
  readonly csrf?: string | undefined;
  /** Rejects in words when it is cut off. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

export interface RouteSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/api/links/{name}`; `{path+}` at its end takes the rest. */
  readonly path: string;
  readonly role: Role;
  /** Heading in the document. */
  readonly tag: string;
  /** One sentence for the document. */
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** Default: json when there is a schema. */
  readonly bodyKind?: BodyKind;
  /** Default: 64 KiB. */
  readonly maxBodyBytes?: number;
  /** Media type of a `bytes` body, and of an answer that is not JSON, for the document. */
  readonly takes?: string;
  readonly gives?: string;
  /** The JSON of the good answer. */
  readonly answer?: z.ZodType;
  /** Status of the good answer, for the document. Default 200. */
  readonly status?: number;
  /** A page of another site may lead here (a link to the page). */
  readonly navigable?: boolean;
  /** The route looks at whoever asks itself: a bearer's secret is not one of this API's. */
  readonly ownCredentials?: boolean;
  handle(call: Call<z.output<P>, z.output<Q>, z.output<B>>): unknown;
}

export type Route = RouteSpec<z.ZodType, z.ZodType, z.ZodType>;

const nothing = z.strictObject({});
type Nothing = typeof nothing;

/** Types the handler by the schemas. */
export function route<
  P extends z.ZodType = Nothing,
  Q extends z.ZodType = Nothing,
  B extends z.ZodType = z.ZodUndefined,
>(spec: RouteSpec<P, Q, B>): Route {
  return spec as unknown as Route;
}
