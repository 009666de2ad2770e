// The two ends of the thin line that scripts/thin-lab.sh makes: a relay on either side, and ears at the far one.
import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { RelayStatus } from '../../src/core/status.ts';
import { RelayHome } from '../support/relay-process.ts';
import type { Arrival } from './far.ts';

export const LAB = resolve(import.meta.dirname, '../../scripts/thin-lab.sh');
export const FAR = '10.98.0.2';
export const LISTEN = 9090;
export const PHONES = 8087;

/** Run at the end, the last first. */
export const closing: (() => unknown)[] = [];
export const scope = { after: (run: () => unknown) => void closing.unshift(run) };

/** Behind the line: reached by its command alone. */
export class FarRelay extends RelayHome {
  override async status(): Promise<RelayStatus> {
    return JSON.parse(await this.command('status', '--json')) as RelayStatus;
  }
}

/** Says what arrives from now on; resolves when it listens. */
export async function listenFar(onArrival: (arrival: Arrival) => void, ...more: string[]): Promise<ChildProcess> {
  const child = spawn(LAB, ['far', process.execPath, join(import.meta.dirname, 'far.ts'), ...more], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  scope.after(() => child.kill('SIGKILL'));
  await new Promise<void>((ready) => {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const found = JSON.parse(line) as Arrival | { ready: true };
      if ('ready' in found) ready();
      else onArrival(found);
    });
  });
  return child;
}
