// Tells systemd how we are: ready, one line of status, stopping, and that the event loop still turns (sd_notify(3)).
// Node cannot open a Unix datagram socket, so a child process speaks for us, unless systemd handed us an open one:
// `OpenFile=/run/systemd/notify:notify` in the unit, systemd 253 and later.
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import systemdNotify from 'systemd-notify';

const PROGRAM = '/usr/bin/systemd-notify';
const PROGRAM_TIMEOUT_MS = 5_000;
const PINGS_PER_WATCHDOG = 3;
/** SD_LISTEN_FDS_START of sd_listen_fds(3). */
const FIRST_FD = 3;

/** The variables systemd sets, as they stand in the environment. Without `socket` every call does nothing. */
export interface NotifyEnvironment {
  readonly socket: string | undefined; // NOTIFY_SOCKET
  readonly watchdogUsec: string | undefined; // WATCHDOG_USEC
  readonly watchdogPid: string | undefined; // WATCHDOG_PID
  readonly listenPid: string | undefined; // LISTEN_PID
  readonly listenFdNames: string | undefined; // LISTEN_FDNAMES
}

/** The promises settle when systemd was told, or could not be. They never reject. */
export interface Notifier {
  ready(status: string): Promise<void>;
  status(text: string): Promise<void>;
  stopping(): Promise<void>;
  /** Feeds the watchdog three times per WatchdogSec while `healthy` says so. Returns what stops it. */
  startWatchdog(healthy: () => boolean): () => void;
}

/** @param onTrouble hears, in words, what systemd could not be told. */
export function createNotifier(environment: NotifyEnvironment, onTrouble: (words: string) => void): Notifier {
  const fd = inheritedFd(environment, 'notify');
  const tell = async (state: string, byProgram: () => Promise<unknown> = () => run(state)) => {
    if (!environment.socket) return;
    try {
      if (fd === undefined) await byProgram();
      else writeSync(fd, state);
    } catch (error) {
      onTrouble(`systemd could not be told ${state}: ${error instanceof Error ? error.message : error}`);
    }
  };
  const tellStatus = (text: string, ready: boolean) => {
    const status = text.replace(/\s+/g, ' '); // a line break would start another assignment
    return tell(`${ready ? 'READY=1\n' : ''}STATUS=${status}`, () =>
      systemdNotify(ready ? { ready, status } : { status }),
    );
  };
  return {
    ready: (status) => tellStatus(status, true),
    status: (text) => tellStatus(text, false),
    stopping: () => tell('STOPPING=1'),
    startWatchdog(healthy) {
      const watchdogMs = watchdogPeriodMs(environment);
      if (watchdogMs === undefined) return () => {};
      const timer = setInterval(() => healthy() && void tell('WATCHDOG=1'), watchdogMs / PINGS_PER_WATCHDOG);
      timer.unref();
      return () => clearInterval(timer);
    },
  };
}

/** What systemd opened for us under that name (`OpenFile=PATH:NAME` in the unit); undefined: nothing. */
export function inheritedFd(
  { listenPid, listenFdNames = '' }: Pick<NotifyEnvironment, 'listenPid' | 'listenFdNames'>,
  name: string,
): number | undefined {
  const index = Number(listenPid) === process.pid ? listenFdNames.split(':').indexOf(name) : -1;
  return index < 0 ? undefined : FIRST_FD + index;
}

function watchdogPeriodMs({ watchdogUsec, watchdogPid }: NotifyEnvironment): number | undefined {
  const forUs = !watchdogPid || Number(watchdogPid) === process.pid;
  return forUs && Number(watchdogUsec) > 0 ? Number(watchdogUsec) / 1000 : undefined;
}

/** The program waits until systemd has read it; NotifyAccess=all is needed for a child's words to count. */
function run(state: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(PROGRAM, [state], { stdio: 'ignore', timeout: PROGRAM_TIMEOUT_MS });
    child.once('error', reject);
    child.once('exit', (code, signal) => (code === 0 ? resolve() : reject(new Error(`it ended ${code ?? signal}`))));
  });
}
