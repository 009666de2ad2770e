// Who asks, and may a request of this kind be made here at all: the name it was asked by (a name an attacker made point at us
// proves a page of his), the site that made a browser ask, and the secret that came with it.
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { isLoopback, plainAddress } from '../lib/address.ts';
import type { Accounts } from './access/accounts.ts';
import { Refusal } from './refusal.ts';
import type { Caller } from './route.ts';

/**
 * `plain` and `tls` are TCP; `socket` is the Unix socket, where being able to open it is the proof; `enroll` is TLS for phones that
 * have no certificate yet, and its routes look at their password themselves.
 */
export type ListenerKind = 'plain' | 'tls' | 'socket' | 'enroll' | 'federates';

/** `__Host-`: the browser takes it over TLS only, and from no other host of the domain. */
export const SESSION_COOKIE = '__Host-waystation';
export const CSRF_HEADER = 'x-csrf-token';
const MAX_SECRET = 256;

export interface GateDeps {
  readonly accounts: Accounts;
  /** Names of this box, in lower case, besides its addresses and localhost. */
  hosts(): readonly string[];
  /** Where changes can be made, for words: `https://…` or ''. */
  secureAddress(): string;
}

/** @throws Refusal 421, 403, 401, 429 */
export function callerOf(request: IncomingMessage, kind: ListenerKind, deps: GateDeps): Caller {
  const address = plainAddress(request.socket.remoteAddress ?? '');
  if (kind === 'socket') return { name: 'local', role: 'admin', by: 'socket', address: '', credential: '', csrf: '' };
  checkHost(request, deps);
  if (kind === 'enroll') return { name: 'a phone', role: 'public', by: 'nobody', address, credential: '', csrf: '' };
  const { authorization } = request.headers;
  if (authorization !== undefined) return bearer(request, authorization, { kind, address, deps });
  const cookie = kind === 'tls' ? cookieOf(request) : undefined;
  const holder = cookie === undefined ? undefined : deps.accounts.sessionHolder(cookie);
  if (holder && cookie !== undefined) return { ...holder, address, credential: cookie };
  return anonymous(request, address);
}

/** For routes that look at their callers themselves. @throws Refusal 421 */
export function strangerOf(request: IncomingMessage, deps: GateDeps): Caller {
  const address = plainAddress(request.socket.remoteAddress ?? '');
  if (request.socket.remoteAddress !== undefined) checkHost(request, deps);
  return { name: 'a partner', role: 'public', by: 'nobody', address, credential: '', csrf: '' };
}

/** Whoever is at this computer may look; a proxy on it speaks for somebody else. */
function anonymous(request: IncomingMessage, address: string): Caller {
  const none = { by: 'nobody', address, credential: '', csrf: '' } as const;
  const proxied = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'].some((name) => name in request.headers);
  if (isLoopback(address) && !proxied && isLocalName(request.headers.host)) {
    return { ...none, name: 'this computer', role: 'viewer', by: 'local' };
  }
  return { ...none, name: 'anybody', role: 'public' };
}

function bearer(
  _request: IncomingMessage,
  authorization: string,
  { kind, address, deps }: { readonly kind: ListenerKind; readonly address: string; readonly deps: GateDeps },
): Caller {
  if (kind === 'plain' && !isLoopback(address)) {
    throw new Refusal(403, 'secret_in_the_clear', 'a token came over plain HTTP: whoever listens has it now', {
      fix: `revoke that token, make a new one, and use it over HTTPS${secure(deps)}`,
    });
  }
  const secret = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization)?.[1];
  const holder = secret && secret.length <= MAX_SECRET ? deps.accounts.holder(secret, address) : undefined;
  if (holder && secret) return { ...holder, address, credential: secret, csrf: '' };
  throw new Refusal(401, 'bad_token', 'the token is not, or no longer, one of this box', {
    fix: 'log in again (POST /api/login), or have a token made: "waystation token create"',
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
  });
}

function cookieOf({ headers }: IncomingMessage): string | undefined {
  for (const part of (headers.cookie ?? '').split(';')) {
    const [name, value = ''] = part.trim().split('=', 2) as [string, string?];
    if (name === SESSION_COOKIE && value.length <= MAX_SECRET) return value;
  }
  return undefined;
}

/** For `set-cookie`; '' ends the session's. */
export function sessionCookie(secret: string): string {
  const life = secret === '' ? '; Max-Age=0' : '';
  return `${SESSION_COOKIE}=${secret}; Path=/; Secure; HttpOnly; SameSite=Strict${life}`;
}

/** An address cannot be rebound; a name must be ours. */
function checkHost({ headers }: IncomingMessage, { hosts }: GateDeps): void {
  const name = hostName(headers.host);
  if (name !== '' && (isIP(name) > 0 || isLocalName(headers.host) || hosts().includes(name))) return;
  throw new Refusal(
    421,
    'wrong_host',
    `asked for under a name that is not this box's: ${JSON.stringify(name.slice(0, 80))}`,
    {
      fix: 'use its address, or add the name to "hosts" in the configuration',
    },
  );
}

function hostName(host: string | undefined): string {
  const text = (host ?? '').toLowerCase();
  return (/^\[([0-9a-f:.]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([^:]*)(?::\d+)?$/.exec(text)?.[1] ?? '').replace(
    /\.$/,
    '',
  );
}

function isLocalName(host: string | undefined): boolean {
  const name = hostName(host);
  return name === 'localhost' || isLoopback(name);
}

/** A page of another site made the browser ask, be it only for an image: what it asks for may switch something on. */
export function isForeignSite({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site === 'cross-site' || site === 'same-site') return true;
  const { origin } = headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== (headers.host ?? '').toLowerCase();
}

/** Somebody followed a link to here, or typed the address. */
export function isNavigation({ headers, method }: IncomingMessage): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** Over plain HTTP only this computer itself may change anything. @throws Refusal 403 */
export function checkMayChange(kind: ListenerKind, caller: Caller, deps: GateDeps): void {
  if (kind !== 'plain' || isLoopback(caller.address)) return;
  throw new Refusal(403, 'read_only_here', 'over plain HTTP this box can only be looked at', {
    fix: `make changes over HTTPS${secure(deps)}, or with the command line on the box`,
  });
}

/** A session's cookie comes with whatever the browser sends here: the page must also send what only it can know. @throws Refusal 403 */
export function checkCsrf({ headers }: IncomingMessage, caller: Caller, body: unknown): void {
  if (caller.csrf === '') return;
  const field = (body as { csrf?: unknown } | undefined)?.csrf;
  if (headers[CSRF_HEADER] === caller.csrf || field === caller.csrf) return;
  throw new Refusal(403, 'csrf', 'the request does not come from this page as it was loaded', {
    fix: 'load the page again',
  });
}

function secure({ secureAddress }: GateDeps): string {
  const address = secureAddress();
  return address ? ` (${address})` : ' (set "api.tls" in the configuration)';
}
