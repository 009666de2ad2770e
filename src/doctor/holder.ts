// Which program listens on a TCP port of this machine, as far as /proc lets us see: always the user, the program when it is ours.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
const LISTENING = '0A';
/** Processes looked through. */
const MAX_PROCESSES = 4096;

/** `mosquitto (process 812)`, `a program of user 108`; undefined: nobody, or it cannot be seen. */
export function holderOf(port: number): string | undefined {
  for (const table of TABLES) {
    const found = socketAt(table, port);
    if (!found) continue;
    const pid = processWith(found.inode);
    if (pid === undefined) return `a program of the user with the number ${found.uid}`;
    return pid === process.pid ? 'another link of this relay' : `${nameOf(pid)} (process ${pid})`;
  }
  return undefined;
}

function socketAt(table: string, port: number): { readonly inode: string; readonly uid: string } | undefined {
  const end = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of text(table).split('\n').slice(1)) {
    const [, local = '', , state, , , , uid = '', , inode = ''] = line.trim().split(/\s+/);
    if (state === LISTENING && local.endsWith(end)) return { inode, uid };
  }
  return undefined;
}

function processWith(inode: string): number | undefined {
  const pids = names('/proc').filter((name) => /^\d+$/.test(name));
  for (const pid of pids.slice(0, MAX_PROCESSES)) {
    const held = names(`/proc/${pid}/fd`).some((fd) => target(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`);
    if (held) return Number(pid);
  }
  return undefined;
}

function nameOf(pid: number): string {
  return text(`/proc/${pid}/comm`).trim() || 'a program';
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // not Linux, or gone
  }
}

function names(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // somebody else's process, or gone
  }
}

function target(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
