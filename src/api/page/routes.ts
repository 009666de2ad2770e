// The routes of the page: looking is for everybody who reaches the port, changing for who is logged in over TLS. Every change is
// shown as a diff before it is made; all of it works with scripts off.
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import * as z from 'zod';
import type { NumberedEvent } from '../../core/events.ts';
import type { Units } from '../../core/fleet.ts';
import type { RelayStatus } from '../../core/status.ts';
import { readAsset } from '../../lib/asset.ts';
import type { Clock } from '../../lib/clock.ts';
import type { LogLine } from '../../lib/log-ring.ts';
import { type Call, Reply, type Route, route } from '../route.ts';
import type { Charts } from './cards.ts';
import type { Html } from './html.ts';
import type { OpenPages } from './open-pages.ts';
import { frame, type PageFrame, THEMES } from './view.ts';

export interface PageDeps {
  readonly clock: Clock;
  readonly charts: Charts;
  snapshot(): RelayStatus;
  /** Whether radio silence is kept. */
  silent?(): boolean;
  /** The newest first. */
  units(most: number): Units;
  /** The newest last. */
  events(most: number): readonly NumberedEvent[];
  /** All that is in memory, the newest last. */
  log(): readonly LogLine[];
  /** PEM of certificates that anybody may have. */
  caPem(): string;
  federationPem(): string;
  /** Where changes can be made: `https://…` or ''. */
  secureAddress(): string;
}

export const pageQuery = z.strictObject({ theme: z.enum(THEMES).optional() });
export type PageCall = Call<unknown, z.output<typeof pageQuery>, unknown>;

const CSP =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

export function lookRoutes(deps: PageDeps, pages: OpenPages): Route[] {
  const tag = 'Page';
  return [
    route({
      method: 'GET',
      path: '/',
      role: 'public',
      tag,
      summary: 'The status page',
      query: pageQuery,
      gives: 'text/html',
      navigable: true,
      handle: (call) => {
        const { main, at } = pages.serve(call.caller);
        return page(deps, call, deps.snapshot().name, main, { reloads: true, at });
      },
    }),
    asset('/page.css', 'text/css'),
    asset('/page.js', 'text/javascript'),
    pem('/ca.pem', 'The CA certificate that signs what this box issues', deps.caPem),
    pem('/federation.pem', 'The certificate this box shows to federates', deps.federationPem),
  ];
}

function pem(path: string, summary: string, text: () => string): Route {
  const type = 'application/x-pem-file';
  const name = path.slice(1);
  const headers = { 'content-type': type, 'content-disposition': `attachment; filename="${name}"` };
  const handle = () => new Reply(200, text(), headers, 'raw');
  return route({ method: 'GET', path, role: 'public', tag: 'Page', summary, gives: type, navigable: true, handle });
}

export interface PageOptions {
  readonly status?: number;
  /** See PageFrame. */
  readonly reloads?: boolean;
  readonly at?: string;
}

/** A whole document of the page, for any of its routes. */
export function page(deps: PageDeps, call: PageCall, title: string, main: Html, more: PageOptions = {}): Reply {
  const text = frame(title, frameFor(deps, call, more), main).text;
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': CSP,
    'referrer-policy': 'same-origin',
  };
  return packed(call, more.status ?? 200, text, headers);
}

function frameFor(
  { secureAddress, silent, clock }: PageDeps,
  { query, caller, request }: PageCall,
  { reloads = false, at }: PageOptions,
): PageFrame {
  const loginHref = caller.by === 'session' ? '' : loginAt(secureAddress(), request.headers.host ?? '');
  const live = at === undefined ? undefined : { at, nowMs: clock.wallMs() };
  return { theme: query.theme, loginHref, csrf: caller.csrf, reloads, silent: silent?.() ?? false, live };
}

/** On the secure port of the name that was used to come here. */
function loginAt(secure: string, host: string): string {
  const port = /:(\d+)$/.exec(secure)?.[1];
  const name = host.replace(/:\d+$/, '');
  return port === undefined || name === '' ? '' : `https://${name}:${port}/login`;
}

/** gzip where the browser takes it: a page of many links is mostly the same words. */
function packed(
  { request }: Pick<PageCall, 'request'>,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>>,
): Reply {
  const takes = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  if (!takes) return new Reply(status, text, headers, 'raw');
  return new Reply(status, gzipSync(text), { ...headers, 'content-encoding': 'gzip', vary: 'accept-encoding' }, 'raw');
}

/** Files of the page: read and packed once, asked for again by their etag. */
function asset(path: string, type: string): Route {
  const bytes = readAsset(`src/api/page${path}`);
  const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 16)}"`;
  const gzipped = gzipSync(bytes, { level: 9 });
  const headers = {
    'content-type': `${type}; charset=utf-8`,
    etag,
    'cache-control': 'no-cache',
    vary: 'accept-encoding',
  };
  return route({
    method: 'GET',
    path,
    role: 'public',
    tag: 'Page',
    summary: 'Part of the status page',
    gives: type,
    handle: ({ request }) => {
      if (request.headers['if-none-match'] === etag) return new Reply(304, undefined, headers, 'raw');
      const takes = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
      return takes
        ? new Reply(200, gzipped, { ...headers, 'content-encoding': 'gzip' }, 'raw')
        : new Reply(200, bytes, headers, 'raw');
    },
  });
}
