// What the configuration says of a link: whether it is meant to run, and whether anything may cross it.
import type { Check } from '../core/diagnosis.ts';
import type { Policy } from '../core/policy.ts';
import { type Filter, filtersIn, filtersOut, SAMPLE_COUNT } from '../core/probe.ts';
import type { Clock } from '../lib/clock.ts';
import type { LinkEntry } from '../links/runner.ts';
import { bad, ok, warn } from './words.ts';

/** `silent`: outgoing links are held back (radio silence). */
export function settingsChecks(entry: LinkEntry, silent: boolean, clock: Clock): Check[] {
  const { name, enabled, policy } = entry;
  if (!enabled) {
    return [warn('settings', '', 'the link is switched off', `switch it on: waystation link resume ${name}`)];
  }
  if (silent) {
    return [warn('settings', '', 'radio silence is on: nothing goes out', 'end it with "waystation emcon off"')];
  }
  const crosses = [...directions(policy), ...filterChecks(entry, clock)];
  return crosses.length > 0 ? crosses : [ok('settings', '', 'switched on; every kind of event may cross both ways')];
}

function directions({ in: comes, out: goes, dpIn, dpOut }: Policy): Check[] {
  if (comes && goes) return [];
  if (comes || goes) {
    const words = comes ? 'events come in and none go out (out: false)' : 'events go out and none come in (in: false)';
    return [ok('settings', '', words)];
  }
  const packages = dpIn || dpOut ? '; only data packages cross' : '';
  const fix = 'switch in or out on in its policy';
  return [warn('settings', '', `the link is paused: both of its switches, in and out, are off${packages}`, fix)];
}

/** Rules asked about samples of what people send, one direction after the other. */
function filterChecks({ name, policy }: LinkEntry, clock: Clock): Check[] {
  const asked = { policy, session: undefined, spec: { link: name } };
  const out = policy.out ? filtersOut(asked, 'here', clock) : [];
  const into = policy.in ? filtersIn(asked, 'here', clock) : [];
  const [goes, comes] = [sideChecks(out, 'out'), sideChecks(into, 'in')];
  // The same filter in both directions is said once.
  const isSame =
    goes.length === comes.length && goes.every(({ words }, index) => tail(words) === tail(comes[index]!.words));
  return isSame
    ? goes.map((one) => ({ ...one, words: one.words.replace(/ out( that people send)?:/, ' in or out$1:') }))
    : [...goes, ...comes];
}

/** Without the direction. */
function tail(words: string): string {
  return words.slice(words.indexOf(':'));
}

function sideChecks(filters: readonly Filter[], side: 'in' | 'out'): Check[] {
  // What is sent to groups passes these all the same: the peers' groups and counters tell (flow.ts).
  const groups = filters.filter(({ rule }) => rule.startsWith('groups_'));
  const others = filters.filter((one) => !groups.includes(one));
  const stopped = new Set(others.flatMap(({ stops }) => stops));
  const words = others.map((one) => one.words).join('; ');
  if (stopped.size === SAMPLE_COUNT) {
    const fix = `change ${others.map(({ rule }) => rule).join(' or ')} in its policy; "waystation policy test" names the rule for an event`;
    return [bad('filters', '', `the filters let nothing ${side} that people send: ${words}`, fix)];
  }
  return [
    ...(others.length > 0 ? [ok('filters', '', `going ${side}: ${words}`)] : []),
    ...groups.map((one) => ok('groups', '', one.words)),
  ];
}
