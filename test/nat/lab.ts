// The laboratory of scripts/nat-lab.sh from inside, namespace ctl: relays in its namespaces, phones beside them, faults.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import type { RelayStatus } from '../../src/core/status.ts';
import { SOCKET_FILE } from '../../src/serve.ts';
import { Phone } from '../support/cot-client.ts';
import { RelayHome, SOURCE } from '../support/relay-process.ts';

export const SCRIPT = resolve(import.meta.dirname, '../../scripts/nat-lab.sh');
/** Where ctl reaches each namespace. */
const CONTROL = { a: '10.99.1.2', b: '10.99.2.2', hub1: '10.99.3.2', hub2: '10.99.4.2' } as const;
export type Place = keyof typeof CONTROL;

/** Does to the network what the words say; see the script. */
export function fault(...words: string[]): void {
  execFileSync(SCRIPT, words, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A program that runs in a namespace until the test ends. */
export function inPlace(t: TestContext, place: Place, ...command: string[]) {
  const child = spawn(SCRIPT, ['in', place, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** A relay in one of the namespaces. */
export class LabRelay extends RelayHome {
  readonly place: Place;
  readonly apiPort: number;

  /** `apiPort`: 8080 or 8081, which are reachable from ctl. */
  constructor(t: TestContext, name: string, place: Place, apiPort = 8080) {
    super(t, name, [SCRIPT, 'in', place, ...SOURCE]);
    this.place = place;
    this.apiPort = apiPort;
  }

  /** The pin that its peers know it by. */
  async pin(): Promise<string> {
    const shown = await this.command('cert', 'show');
    const digits = /^portal.*\n\s+SHA-?256:?\s*([0-9A-F:]+)/im.exec(shown)?.[1];
    if (!digits) throw new Error(`no portal certificate in ${shown}`);
    return digits.replaceAll(':', '').toLowerCase();
  }

  override status(): Promise<RelayStatus> {
    return this.get('/api/status') as Promise<RelayStatus>;
  }

  /** Asks by the command line's socket, which no network stands before: over the control network it says less to strangers. */
  async get(path: string): Promise<unknown> {
    const socketPath = join(this.folder, 'data', SOCKET_FILE);
    const asked = request({ socketPath, path, headers: { host: 'localhost' }, timeout: 10_000 }).end();
    asked.on('timeout', () => asked.destroy(new Error('the status takes too long')));
    const [response] = await once(asked, 'response');
    const body = await text(response);
    return response.statusCode === 200 ? JSON.parse(body) : Promise.reject(new Error(`${response.statusCode} ${body}`));
  }
}

/** A phone that can reach that relay and nobody else. */
export async function phoneAt(t: TestContext, place: Place, port: number): Promise<Phone> {
  const socket = connect({ host: CONTROL[place], port });
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return new Phone(socket);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** The first value of `find` that is not undefined or false; rejects with what it waited for. */
export async function until<T>(
  ms: number,
  what: string,
  find: () => Promise<T | undefined | false> | T | undefined | false,
) {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await sleep(50);
  }
}
