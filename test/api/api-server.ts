// The API server by itself, with the routes a test gives it, at a port of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AccountMemory, Accounts } from '../../src/api/access/accounts.ts';
import { SetupCode } from '../../src/api/access/setup-code.ts';
import type { Place } from '../../src/api/listener.ts';
import type { Deed } from '../../src/api/router.ts';
import { type ApiOptions, ApiServer } from '../../src/api/server.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';

/** What an operator's program sends: the token of every server made here. */
export const OPERATOR: Record<string, string> = {};

export function memoryOf(values = new Map<string, string>()): AccountMemory {
  return {
    get: (key) => values.get(key),
    set(key, value) {
      if (value === undefined) values.delete(key);
      else values.set(key, value);
    },
    flush() {},
  };
}

export function tempFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-api-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface ServeOptions extends Partial<ApiOptions> {
  readonly clock?: Clock;
}

export interface Served {
  /** Of the first place. */
  readonly url: string;
  /** `host:port`, or path, of each place. */
  readonly addresses: ReadonlyMap<Place['kind'], string>;
  readonly server: ApiServer;
  readonly accounts: Accounts;
  readonly deeds: readonly Deed[];
  readonly stop: AbortController;
  readonly running: Promise<void>;
}

export async function serveApi(t: TestContext, options: ServeOptions = {}): Promise<Served> {
  const { clock = systemClock } = options;
  const places = options.places ?? [{ place: { kind: 'plain', host: '127.0.0.1', port: 0 }, from: [] }];
  const accounts =
    options.accounts ??
    new Accounts({ memory: memoryOf(), clock, setupCode: new SetupCode(join(tempFolder(t), 'setup-code')) });
  const addresses = new Map<Place['kind'], string>();
  const deeds: Deed[] = [];
  const ready = Promise.withResolvers<void>();
  const server = new ApiServer({
    routes: [],
    hosts: () => ['box.example'],
    secureAddress: () => '',
    log: silentLog,
    tap: () => () => {},
    openPage: (socket) => socket.close(),
    toXml: () => '<event/>',
    onDeed: (deed) => deeds.push(deed),
    ...options,
    clock,
    places,
    accounts,
    onListening(kind, address) {
      addresses.set(kind, address);
      options.onListening?.(kind, address);
      if (addresses.size === places.length) ready.resolve();
    },
    onTrouble(kind, error) {
      options.onTrouble?.(kind, error);
      ready.reject(error);
    },
  });
  const stop = new AbortController();
  const running = server.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  await ready.promise;
  const { token } = accounts.createToken('test', { role: 'operator', days: undefined, by: 'test' });
  OPERATOR.authorization = `Bearer ${token}`;
  const kind = places[0]!.place.kind;
  const scheme = kind === 'tls' ? 'https' : 'http';
  return { url: `${scheme}://${addresses.get(kind)}`, addresses, server, accounts, deeds, stop, running };
}
