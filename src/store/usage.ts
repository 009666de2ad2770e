// What links have spent of their day's bytes, kept over restarts: a relay that is restarted has no second allowance.
import type { LinkBudget, Usage } from '../core/budget.ts';
import type { DayTraffic } from '../core/day-traffic.ts';
import type { Store } from './store.ts';

/** Looked at so often; written when it is worth it. */
export const USAGE_EVERY_MS = 10_000;
/** Of a day's allowance: most that a power cut can give back. Cards do not bear a note of every keepalive. */
const WORTH_PART = 0.01;
const WORTH_BYTES = 100_000;

/** The same of what links have carried: nobody pays for it, and each note costs the card some 40 kB. */
export const TRAFFIC_EVERY_MS = 4 * 3_600_000;

const keyOf = (link: string) => `usage/${link}`;
const trafficKeyOf = (link: string) => `traffic/${link}`;

/** What a link had spent; undefined: nothing is known, or what is kept makes no sense. */
export function usageOf(store: Pick<Store, 'get'>, link: string): Usage | undefined {
  const [day = Number.NaN, bytes = Number.NaN] = numbersOf(store.get(keyOf(link)));
  return Number.isSafeInteger(day) && Number.isSafeInteger(bytes) && bytes > 0 ? { day, bytes } : undefined;
}

/** Takes up what the links had carried when it was last noted; what makes no sense is as nothing. */
export function restoreTraffic(store: Pick<Store, 'get'>, links: readonly string[], traffic: DayTraffic): void {
  for (const link of links) {
    const [day = Number.NaN, inBytes = Number.NaN, outBytes = Number.NaN] = numbersOf(store.get(trafficKeyOf(link)));
    const sound = [day, inBytes, outBytes].every((one) => Number.isSafeInteger(one) && one >= 0);
    if (sound) traffic.restore(link, { day, inBytes, outBytes });
  }
}

/** Notes what the links have carried today, where it changed. */
export function keepTraffic(
  store: Pick<Store, 'get' | 'set'>,
  links: readonly string[],
  traffic: DayTraffic,
  wallMs: number,
): void {
  for (const link of links) {
    const today = traffic.today(link, wallMs);
    if (!today) continue;
    const text = `${today.day} ${today.inBytes} ${today.outBytes}`;
    if (store.get(trafficKeyOf(link)) !== text) store.set(trafficKeyOf(link), text);
  }
}

function numbersOf(text: string | undefined): number[] {
  return (text ?? '').split(' ').map(Number);
}

/** Notes what every link with a budget has spent so far, where it is worth it; `last`: to the byte, before an orderly end. */
export function keepUsage(
  store: Pick<Store, 'get' | 'set'>,
  budgets: ReadonlyMap<string, LinkBudget>,
  when: 'underway' | 'last',
): void {
  for (const [link, budget] of budgets) {
    if (!budget.counts) continue;
    const { day, bytes } = budget.usage;
    const noted = usageOf(store, link);
    const worth = Math.min(WORTH_BYTES, (budget.status().perDayBytes ?? Number.POSITIVE_INFINITY) * WORTH_PART);
    if (when === 'underway' && noted?.day === day && bytes - noted.bytes < worth) continue;
    const text = `${day} ${bytes}`;
    if (store.get(keyOf(link)) !== text) store.set(keyOf(link), text);
  }
}
