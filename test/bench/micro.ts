// Times small functions against each other. Rounds alternate between the variants, so that a busy moment of the machine
// falls on all of them; the median round counts.
import { median } from './report.ts';

const WARM_UP_MS = 300;
const ROUND_MS = 25;
const ROUNDS = 21;

/** Keeps the optimiser from dropping what is measured. */
export const sink: { value: unknown } = { value: undefined };

/** Nanoseconds per call of each variant. */
export function compare<Name extends string>(variants: Readonly<Record<Name, () => unknown>>): Record<Name, number> {
  const names = Object.keys(variants) as Name[];
  const calls = names.map((name) => calibrate(variants[name]));
  const rounds = names.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, name] of names.entries())
      rounds[index]!.push(time(variants[name], calls[index]!) / calls[index]!);
  }
  const entries = names.map((name, index) => [name, median(rounds[index]!) * 1e6]);
  return Object.fromEntries(entries) as Record<Name, number>;
}

/** Warms the function up; returns how many calls fill a round. */
function calibrate(run: () => unknown): number {
  let calls = 1;
  let spentMs = 0;
  for (let lastMs = 0; spentMs < WARM_UP_MS || lastMs < ROUND_MS; spentMs += lastMs) {
    lastMs = time(run, calls);
    if (lastMs < ROUND_MS) calls *= 2;
  }
  return calls;
}

/** CPU time of this process in milliseconds: what others do on the machine does not count. */
function time(run: () => unknown, calls: number): number {
  const before = process.cpuUsage();
  for (let call = 0; call < calls; call++) sink.value = run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
