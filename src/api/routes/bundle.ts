// The support bundle: a file to give to whoever helps. A POST, since far ends are tried for it and it is written down who took it.
import * as z from 'zod';
import { pageQuery } from '../page/routes.ts';
import { type Call, Reply, type Route, route } from '../route.ts';

export interface BundleRouteDeps {
  /** A tar.gz without secrets, and what to call it. */
  bundle(signal: AbortSignal): Promise<{ readonly name: string; readonly bytes: Buffer }>;
}

const TYPE = 'application/gzip';

export function bundleRoutes(deps: BundleRouteDeps): Route[] {
  const common = { method: 'POST', role: 'operator', gives: TYPE, body: z.strictObject({}) } as const;
  return [
    route({
      ...common,
      path: '/api/bundle',
      tag: 'Status',
      summary: 'The support bundle (tar.gz): status, configuration, log, events, audit, diagnosis, machine; no secrets',
      handle: (call) => download(deps, call),
    }),
    route({
      ...common,
      path: '/bundle',
      tag: 'Page',
      summary: 'The support bundle, from the page',
      query: pageQuery,
      bodyKind: 'form',
      handle: (call) => download(deps, call),
    }),
  ];
}

async function download(
  { bundle }: BundleRouteDeps,
  { signal, note }: Pick<Call<unknown, unknown, unknown>, 'signal' | 'note'>,
): Promise<Reply> {
  const { name, bytes } = await bundle(signal);
  note(`support bundle taken, ${bytes.length} bytes`);
  const headers = {
    'content-type': TYPE,
    'content-disposition': `attachment; filename="${name}"`,
    'cache-control': 'no-store',
  };
  return new Reply(200, bytes, headers, 'raw');
}
