// The machine as somebody far away needs to know it: system, memory, load, interfaces with their addresses, routes, disk.
import { readFileSync } from 'node:fs';
import { arch, cpus, freemem, loadavg, networkInterfaces, platform, release, totalmem, uptime } from 'node:os';

const MAX_FILE = 16 * 1024;

export function hostFacts(): Readonly<Record<string, unknown>> {
  const processors = cpus();
  return {
    platform: platform(),
    arch: arch(),
    kernel: release(),
    system: text('/etc/os-release'),
    board: text('/proc/device-tree/model').replaceAll('\0', ''),
    processors: { count: processors.length, model: processors[0]?.model ?? '' },
    load: loadavg(),
    memory: { totalBytes: totalmem(), freeBytes: freemem(), meminfo: text('/proc/meminfo') },
    uptimeSeconds: Math.round(uptime()),
    timeSynchronised: text('/run/systemd/timesync/synchronized', '') !== undefined,
    interfaces: interfaces(),
    routes: text('/proc/net/route'),
    mounts: text('/proc/mounts'),
    processStatus: text('/proc/self/status'),
  };
}

/** Without hardware addresses: they name the machine, and nobody needs them. */
function interfaces(): Readonly<Record<string, readonly string[]>> {
  const found = Object.entries(networkInterfaces());
  return Object.fromEntries(found.map(([name, list]) => [name, (list ?? []).flatMap(({ cidr }) => cidr ?? [])]));
}

function text(path: string): string;
function text(path: string, none: ''): string | undefined;
function text(path: string, none?: ''): string | undefined {
  try {
    return readFileSync(path, 'utf8').slice(0, MAX_FILE);
  } catch {
    return none === undefined ? '' : undefined; // this machine has none
  }
}
