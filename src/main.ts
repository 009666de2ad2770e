#!/usr/bin/env node
// The process: arguments, environment, signals, exit code, systemd. The only file that looks at process.env.
import { homedir, hostname } from 'node:os';
import { openDesk } from './appliance/machine.ts';
import { runCli } from './cli/cli.ts';
import type { CliContext, Command } from './cli/command.ts';
import { defaultDataFolder } from './config/load.ts';
import { systemClock } from './lib/clock.ts';
import { createLog, print, printError } from './lib/log.ts';
import { createNotifier, inheritedFd } from './lib/notify.ts';
import { build } from './version.ts';

// Events are kept for minutes, most of them a few hundred bytes: from a pool of 64 KiB each would keep a whole slab alive.
Buffer.poolSize = 8192;

const { env } = process;

/** Aborted by the first SIGINT or SIGTERM; the second ends the process at once. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: string) => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(name);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return controller.signal;
}

async function readStdin(maxBytes = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) break;
  }
  return Buffer.concat(chunks);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

const context: CliContext = {
  version: build.version,
  commit: build.commit,
  env: { config: env.WAYSTATION_CONFIG, data: env.WAYSTATION_DATA, token: env.WAYSTATION_TOKEN },
  defaults: {
    hostName: hostname(),
    dataFolder: defaultDataFolder({ root: isRoot(), home: homedir(), xdgDataHome: env.XDG_DATA_HOME }),
  },
  signal: stopSignal(),
  stdoutIsTerminal: process.stdout.isTTY === true,
  out: print,
  err: printError,
  readStdin,
};

const environment = {
  socket: env.NOTIFY_SOCKET,
  watchdogUsec: env.WATCHDOG_USEC,
  watchdogPid: env.WATCHDOG_PID,
  listenPid: env.LISTEN_PID,
  listenFdNames: env.LISTEN_FDNAMES,
};
const notifier = createNotifier(environment, (words) => printError(words));

/** What is not needed to run is not loaded: a relay runs for months, on a board with little memory. */
async function commandsFor(name: string | undefined): Promise<readonly Command[]> {
  const { runCommand } = await import('./run.ts');
  const run = runCommand({
    notifier,
    build,
    appliance: openDesk,
    clockFd: inheritedFd(environment, 'clock'),
    restarts: env.WAYSTATION_RESTARTS === '1',
    clock: systemClock,
    createLog: (level, ring) => createLog({ level, ring, pretty: process.stderr.isTTY === true }),
    onHangup: (reload) => process.on('SIGHUP', reload),
    onFault: (tell) => {
      process.on('uncaughtException', tell);
      process.on('unhandledRejection', tell);
    },
  });
  if (name === 'run') return [run];
  const { allCommands } = await import('./commands.ts');
  return allCommands(run, context);
}

process.title = 'waystation';
// The reader of a pipe left: nobody wants the rest of what a command prints. A relay that runs has other things to do.
process.stdout.on('error', () => process.argv[2] === 'run' || process.exit(0));
// A relay that was told to stop has closed everything; nothing that lingers may keep the process. No await out here: the
// single binary is a CommonJS bundle.
const argv = process.argv.slice(2);
commandsFor(argv[0])
  .then((commands) => runCli(argv, commands, context))
  .then((code) => process.exit(code));
