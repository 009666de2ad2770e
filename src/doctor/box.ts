// This box: clock, storage, memory, power, certificates, and whatever it warns of.
import type { Check } from '../core/diagnosis.ts';
import type { CertificateStatus, RelayStatus } from '../core/status.ts';
import { bad, megabytes, ok, unknown, warn } from './words.ts';

/** The relay was written after this; a clock before it was never set. */
const YEAR_WRITTEN = 2026;
const HOT_C = 80;
const SOON_DAYS = 30;
const WORN_PERCENT = 90;
const LITTLE = 0.1;
const LITTLE_BYTES = 500e6;
const NO_ROOM_BYTES = 50e6;

export interface Memory {
  readonly availableBytes: number;
  readonly totalBytes: number;
}

/** Warnings that a check of its own speaks of. */
const SPOKEN_OF: ReadonlySet<string> = new Set(['clock_wrong', 'certificate_expiring']);

export function boxChecks(status: RelayStatus, memory: Memory): Check[] {
  return [
    clock(status),
    storage(status),
    ...wearCheck(status),
    memoryCheck(status, memory),
    ...power(status),
    ...status.certificates.flatMap(certificate),
    ...status.warnings
      .filter(({ code }) => !SPOKEN_OF.has(code))
      .map(({ code, words, fix }) => warn(code, '', words, fix)),
  ];
}

function clock({ now, clockFrom, warnings }: RelayStatus): Check {
  const from = clockFrom ? `, ${clockFrom}` : '';
  const said = `the clock of this box says ${now.slice(0, 16).replace('T', ' ')} UTC${from}`;
  if (Number(now.slice(0, 4)) < YEAR_WRITTEN) {
    const fix = 'let it reach a time server, or set it by hand: until then certificates and events are refused';
    return bad('clock', '', `${said}: it was never set`, fix);
  }
  const wrong = warnings.find(({ code }) => code === 'clock_wrong');
  return wrong ? bad('clock', '', wrong.words, wrong.fix) : ok('clock', '', `${said}; nobody contradicts it`);
}

function storage({ host }: RelayStatus): Check {
  if (!host.storage) return unknown('storage', '', 'the storage cannot be asked how much room there is');
  const { freeBytes, totalBytes } = host.storage;
  const words = `${megabytes(freeBytes)} of ${megabytes(totalBytes)} are free where keys and the outbox are kept`;
  const fix = 'remove what is not needed from that file system';
  if (freeBytes < NO_ROOM_BYTES) return bad('storage', '', words, `${fix}: the outbox cannot keep what waits`);
  return freeBytes < LITTLE_BYTES && freeBytes < totalBytes * LITTLE
    ? warn('storage', '', words, fix)
    : ok('storage', '', words);
}

function wearCheck({ host: { wear } }: RelayStatus): Check[] {
  const used = wear?.lifeUsedPercent ?? null;
  if (used === null || used < WORN_PERCENT) return [];
  const words = `the memory under the data folder has used ${Math.min(used, 100)} % of its life`;
  return [warn('storage_worn', '', words, 'replace it before it fails: take a support bundle and the keys first')];
}

function memoryCheck({ memory }: RelayStatus, { availableBytes, totalBytes }: Memory): Check {
  const words = `the relay uses ${megabytes(memory.rssBytes)}; ${megabytes(availableBytes)} of ${megabytes(totalBytes)} are left`;
  if (availableBytes > totalBytes * 0.05) return ok('memory', '', words);
  return warn('memory', '', words, 'stop other programs on this box, or lower limits.queue and the number of clients');
}

function power({ host }: RelayStatus): Check[] {
  const { underVoltage, temperatureC } = host;
  const checks: Check[] = [];
  if (underVoltage === true) {
    checks.push(warn('power', '', 'the power supply is or was too weak', 'use a better supply or a shorter cable'));
  }
  if (temperatureC !== null && temperatureC >= HOT_C) {
    checks.push(
      warn('temperature', '', `the processor has ${temperatureC} °C`, 'let air to the box, or take it out of the sun'),
    );
  }
  return checks;
}

function certificate({ what, notAfter, daysLeft }: CertificateStatus): Check[] {
  const until = notAfter.slice(0, 10);
  const fix =
    what === 'authority'
      ? 'give phones and peers the certificate of a new one in time'
      : 'restart the relay: it renews what it made itself';
  if (daysLeft < 0) return [bad('certificates', what, `the ${what} certificate ended on ${until}`, fix)];
  if (daysLeft < SOON_DAYS)
    return [warn('certificates', what, `the ${what} certificate ends in ${daysLeft} days`, fix)];
  return [ok('certificates', what, `the ${what} certificate is good until ${until}`)];
}
