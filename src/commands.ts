// Every command but `run`. A relay that runs for months loads none of this: main.ts asks for it when another command is called.
import { provisionCommand } from './appliance/provision-command.ts';
import { updateCommand } from './appliance/update-command.ts';
import { bundleCommand } from './cli/bundle.ts';
import { certCommand, type OpenCertificates } from './cli/cert.ts';
import { checkCommand } from './cli/check.ts';
import type { CliContext, Command } from './cli/command.ts';
import { completionCommand } from './cli/completion.ts';
import { configCommand } from './cli/config.ts';
import { doctorCommand } from './cli/doctor.ts';
import { exportCommand } from './cli/export.ts';
import { federationCommand } from './cli/federation.ts';
import { fleetCommand } from './cli/fleet.ts';
import { importCommand } from './cli/import.ts';
import { injectCommand } from './cli/inject.ts';
import { linkCommand } from './cli/link.ts';
import { nodeCommand } from './cli/node.ts';
import { partnerCommand } from './cli/partner.ts';
import { phoneCommand } from './cli/phone.ts';
import { policyCommand } from './cli/policy.ts';
import { probeCommand } from './cli/probe.ts';
import { queueCommand } from './cli/queue.ts';
import { recordCommand } from './cli/record.ts';
import { auditCommand, emconCommand, logCommand, tokenCommand } from './cli/records.ts';
import { replayCommand } from './cli/replay.ts';
import { simulateCommand } from './cli/simulate.ts';
import { statusCommand, watchCommand } from './cli/status.ts';
import { topCommand } from './cli/top.ts';
import { versionCommand } from './cli/version.ts';
import { openIdentity } from './identity/identity.ts';
import { systemClock } from './lib/clock.ts';
import { ownHosts } from './lib/host.ts';
import { silentLog } from './lib/log.ts';
import { openTerminal } from './lib/terminal.ts';
import { trustOf } from './relay.ts';
import { atRest, bundleAtRest } from './support.ts';
import { notices, versionLine } from './version.ts';

const openCertificates: OpenCertificates = ({ dir, name }) =>
  openIdentity({ dir, name, hosts: ownHosts(name), clock: systemClock, log: silentLog });

/** In the order in which `--help` lists them; `run` first. */
export function allCommands(run: Command, { signal }: CliContext): readonly Command[] {
  const commands: readonly Command[] = [
    run,
    checkCommand(trustOf),
    statusCommand,
    doctorCommand((config, link) => atRest(config, link, signal)),
    bundleCommand(bundleAtRest),
    topCommand((events) => openTerminal(process.stdin, process.stdout, events)),
    injectCommand,
    watchCommand,
    federationCommand,
    importCommand,
    nodeCommand,
    fleetCommand,
    partnerCommand,
    phoneCommand,
    policyCommand,
    probeCommand,
    queueCommand,
    simulateCommand,
    recordCommand,
    replayCommand,
    certCommand(openCertificates),
    exportCommand(openCertificates),
    linkCommand,
    configCommand,
    tokenCommand,
    emconCommand,
    logCommand,
    auditCommand,
    provisionCommand(trustOf, () => new Date(systemClock.wallMs()).toISOString()),
    updateCommand(systemClock),
    completionCommand(() => commands),
    versionCommand({ line: versionLine(), notices }),
  ];
  return commands;
}
