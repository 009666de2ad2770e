// `waystation run`: loads the configuration, runs the relay, reloads on SIGHUP, tells a person where everything is.
import { parseArgs } from 'node:util';
import type { Appliance } from './api/routes/appliance.ts';
import { type CliContext, type Command, EXIT } from './cli/command.ts';
import { ConfigDesk } from './config/desk.ts';
import { formatProblems } from './config/problem.ts';
import type { Config } from './config/schema.ts';
import type { RelayStatus } from './core/status.ts';
import { childController, sleep } from './lib/abort.ts';
import type { Clock } from './lib/clock.ts';
import { FatalError } from './lib/errors.ts';
import { ownHosts } from './lib/host.ts';
import type { Log, LogLevel } from './lib/log.ts';
import { LogRing } from './lib/log-ring.ts';
import type { Notifier } from './lib/notify.ts';
import { serial } from './lib/serial.ts';
import { settleWhenQuiet } from './lib/settle.ts';
import { LINK_KINDS } from './links/index.ts';
import { Relay } from './relay.ts';
import type { Serving } from './serve.ts';
import type { Build } from './version.ts';

/** Links get this long to be up before the banner is printed without them. */
const BANNER_WAIT_MS = 3_000;
const BANNER_STEP_MS = 20;
const RESTART_MS = 250;

export interface RunDeps {
  readonly notifier: Notifier;
  readonly build: Build;
  readonly clock: Clock;
  /** Where to tell the clock daemon of peers' clocks; undefined: nowhere. */
  readonly clockFd: number | undefined;
  /** The card this box was started from; undefined: a machine like any other. `data`: the relay's data folder. */
  appliance(data: string): Appliance | undefined;
  /** Whoever started this process starts it again when it ends. */
  readonly restarts: boolean;
  createLog(level: LogLevel, ring: LogRing): Log;
  onHangup(reload: () => void): void;
  onFault(tell: (error: unknown) => void): void;
}

/** The command that is the product. */
export function runCommand(deps: RunDeps): Command {
  return {
    name: 'run',
    usage: '[--config FILE]',
    summary: 'Run the relay',
    help: [
      '  --config FILE   configuration (default: $WAYSTATION_CONFIG, ./waystation.yaml, /etc/waystation/waystation.yaml;',
      '                  with none of them the built-in one: "waystation config default" prints it)',
      '',
      'Stops on SIGINT and SIGTERM; reads the configuration again on SIGHUP.',
    ].join('\n'),
    async run(args, context) {
      const { values } = parseArgs({ args: [...args], options: { config: { type: 'string' } } });
      const { env, defaults } = context;
      const desk = new ConfigDesk({ load: { path: values.config, env, defaults }, clock: deps.clock });
      const loaded = await desk.begin();
      if ('problems' in loaded) {
        context.err(formatProblems(loaded.problems, loaded.path ?? 'configuration'));
        return EXIT.badConfig;
      }
      return await runRelay(loaded.config, loaded.path, desk, context, deps);
    },
  };
}

async function runRelay(
  config: Config,
  path: string | undefined,
  desk: ConfigDesk,
  context: CliContext,
  deps: RunDeps,
): Promise<number> {
  const logRing = new LogRing();
  const log = deps.createLog(config.log.level, logRing);
  deps.onFault((error) => {
    log.fatal({ err: error }, 'a fault that nothing caught; the process ends');
    process.exit(EXIT.failed);
  });
  const { controller } = childController(context.signal);
  let code: number = EXIT.ok;
  const restart = () => {
    code = EXIT.restart;
    // The answer to who asked goes out first.
    deps.clock.after(RESTART_MS, () => controller.abort());
  };
  const { clock, build } = deps;
  const again = deps.restarts ? restart : undefined;
  const relay = new Relay({
    config,
    desk,
    kinds: LINK_KINDS,
    clock,
    log,
    logRing,
    build,
    restart: again,
    appliance: deps.appliance(config.data),
    clockFd: deps.clockFd,
  });
  deps.onHangup(serial(() => reload(relay, desk, log)));
  const running = relay.run(controller.signal);
  const stopWatchdog = deps.notifier.startWatchdog(() => true);
  await bannerWhenUp(relay, path, context);
  if (!context.signal.aborted) await deps.notifier.ready(summary(relay.snapshot()));
  controller.signal.addEventListener('abort', () => void deps.notifier.stopping(), { once: true });
  void settleWhenQuiet(controller.signal);
  await running;
  stopWatchdog();
  log.info({ again: code === EXIT.restart }, 'stopped');
  return code;
}

async function reload(relay: Relay, desk: ConfigDesk, log: Log): Promise<void> {
  try {
    const loaded = await desk.reload();
    if ('config' in loaded) log.info({ path: loaded.path }, 'configuration reloaded');
    else relay.configRefused(formatProblems(loaded.problems, loaded.path ?? 'configuration'));
  } catch (error) {
    if (error instanceof FatalError) return relay.configRefused(`${error.message}; ${error.fix}`);
    log.error({ err: error }, 'a fault while the configuration was reloaded');
    relay.configRefused(error instanceof Error ? error.message : String(error));
  }
}

async function bannerWhenUp(relay: Relay, path: string | undefined, context: CliContext): Promise<void> {
  const settled = () => relay.apiAddress !== '' && relay.snapshot().links.every(({ state }) => state !== 'starting');
  for (let waited = 0; waited < BANNER_WAIT_MS && !settled(); waited += BANNER_STEP_MS) {
    await sleep(BANNER_STEP_MS, context.signal);
  }
  if (!context.signal.aborted) context.out(banner(relay.snapshot(), relay.serving, path));
}

/** Where phones, servers and the status are to be found, in a few lines. */
export function banner(
  status: RelayStatus,
  { plainAddress, secureAddress, accounts }: Pick<Serving, 'plainAddress' | 'secureAddress' | 'accounts'>,
  path: string | undefined,
): string {
  const width = Math.max(...status.links.map(({ name }) => name.length), 'status'.length);
  const links = status.links.map(({ name, kind, state, detail, lastTrouble }) => {
    const well = state === 'listening' || state === 'connected' || !lastTrouble;
    return `  ${name.padEnd(width)}  ${kind.padEnd(6)}  ${state} ${detail}${well ? '' : `: ${lastTrouble.words}`}`;
  });
  const reach = ownHosts(status.name).filter(
    (host) => host !== 'localhost' && !host.startsWith('127.') && host !== '::1',
  );
  return [
    `Waystation ${status.version} "${status.name}" (${status.id}), process ${process.pid}`,
    `  this box is ${reach.join(', ')}`,
    ...links,
    `  ${'status'.padEnd(width)}  http    ${plainAddress ? `http://${plainAddress}/ in a browser, or "waystation status"` : 'not served'}`,
    ...(secureAddress ? [`  ${'login'.padEnd(width)}  https   ${secureAddress}`] : []),
    ...(accounts.setupCode ? [`  setup code, which sets the first password: ${accounts.setupCode}`] : []),
    `  configuration: ${path ?? 'built in ("waystation config default" prints it)'}`,
    `  our CA and fingerprints, for peers and phones: "waystation cert show"`,
  ].join('\n');
}

function summary(status: RelayStatus): string {
  const up = status.links.filter(({ state }) => state === 'listening' || state === 'connected').length;
  return `${up} of ${status.links.length} links up, ${status.peers.filter(({ connected }) => connected).length} peers`;
}
