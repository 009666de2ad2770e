// sudo npm run image:test [-- SCENARIO…]: boots the image in QEMU and does to it what the field will. As root on Debian (it builds the image
// when the sources are newer). Without names all but `cuts`, `idle` and `day` run, about two hours. `cuts:N` is N power cuts at random moments (default 20).
import { Hub, prepare } from './lab.ts';
import { cutAll } from './machine.ts';
import { bootScenarios } from './scenarios/boot.ts';
import { cutScenario } from './scenarios/cuts.ts';
import { faultScenarios } from './scenarios/faults.ts';
import { gpsScenario } from './scenarios/gps.ts';
import { idleScenarios } from './scenarios/idle.ts';
import { outsideScenarios } from './scenarios/outside.ts';
import { ratioScenario } from './scenarios/ratio.ts';
import type { Scenario } from './scenarios/scenario.ts';
import { updateScenarios } from './scenarios/update.ts';
import { wifiScenario } from './scenarios/wifi.ts';

/** Only when asked for. */
const LONG = ['cuts', 'idle', 'day'];
const SCENARIOS: readonly Scenario[] = [
  ...bootScenarios,
  ...idleScenarios,
  ...faultScenarios,
  ...updateScenarios,
  ...outsideScenarios,
  gpsScenario,
  wifiScenario,
  ratioScenario,
  cutScenario,
];

async function main(wanted: readonly string[]): Promise<number> {
  const names = wanted.length > 0 ? wanted : SCENARIOS.map(({ name }) => name).filter((name) => !LONG.includes(name));
  const unknown = names.find((name) => !SCENARIOS.some((one) => one.name === name.split(':')[0]));
  if (unknown) {
    console.error(
      `no scenario "${unknown}"; there are:\n${SCENARIOS.map(({ name, what }) => `  ${name}: ${what}`).join('\n')}`,
    );
    return 2;
  }
  const startedMs = performance.now();
  const log = (words: string) =>
    console.log(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(5)} s] ${words}`);
  const prepared = prepare(log);
  const lab = { ...prepared, hub: await Hub.create(prepared) };
  // Stopped by hand: what it started ends with it.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void Promise.all([cutAll(), lab.hub.stop()]).then(() => process.exit(1)));
  const failed: string[] = [];
  try {
    for (const asked of names) {
      const [name, argument] = asked.split(':');
      const { what, run } = SCENARIOS.find((one) => one.name === name)!;
      log(`== ${name}: ${what}`);
      try {
        await run(lab, argument);
        log(`ok ${name}`);
      } catch (error) {
        failed.push(name!);
        log(`FAILED ${name}: ${error instanceof Error ? error.stack : String(error)}`);
      } finally {
        await cutAll();
      }
    }
  } finally {
    await lab.hub.stop();
  }
  log(failed.length > 0 ? `failed: ${failed.join(', ')}` : 'all passed');
  return failed.length > 0 ? 1 : 0;
}

main(process.argv.slice(2)).then((code) => process.exit(code));
