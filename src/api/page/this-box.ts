// This box on the status page: clock, memory, storage, temperature, power, certificates, version.
import type { ApplianceStatus } from '../../core/appliance.ts';
import type { RelayStatus } from '../../core/status.ts';
import type { Wear } from '../../lib/host.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';
import { bytes, minuteOf, plural } from './words.ts';

export function thisBoxPart(status: RelayStatus, cells: Cells): Html {
  const { host, certificates, memory, appliance, commit, caFingerprint, federationFingerprint } = status;
  const { temperatureC, underVoltage, storage, wear } = host;
  const rows: [string, Html | string][] = [
    ['Clock (UTC)', cells.text('b.now', `${minuteOf(status.now)}${status.clockFrom ? `, ${status.clockFrom}` : ''}`)],
    ['Memory', cells.text('b.memory', bytes(Math.round(memory.rssBytes / 1e7) * 10_000_000))],
    [
      'Storage free',
      storage ? cells.text('b.storage', `${bytes(storage.freeBytes)} of ${bytes(storage.totalBytes)}`) : 'not known',
    ],
    ...(wear?.bytesPerDay || wear?.lifeUsedPercent ? [written(wear, cells)] : []),
    [
      'Temperature',
      temperatureC === null ? 'not measured' : cells.text('b.temperature', `${Math.round(temperatureC)} °C`),
    ],
    [
      'Power',
      underVoltage === null
        ? 'not measured'
        : cells.text('b.power', underVoltage ? '■ too weak: use a better supply or cable' : 'good'),
    ],
    ...certificates.map(({ what, notAfter, daysLeft }): [string, string] => [
      `Certificate: ${what}`,
      `until ${notAfter.slice(0, 10)} (${plural(daysLeft, 'day')})`,
    ]),
    ...(appliance ? [card(appliance)] : []),
    ['CA', fingerprint(caFingerprint)],
    ['Federation certificate', fingerprint(federationFingerprint)],
    ['Version', `${status.version} (${commit})`],
  ];
  return html`<section id="box" aria-labelledby="h-box"><h2 id="h-box">This box</h2><dl class="box">${rows.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl></section>`;
}

function card({ slot, trial, update }: ApplianceStatus): [string, Html] {
  return [
    'Card',
    html`half ${slot}${trial && ', on trial'}. ${update} <a class="action" href="/box">Update, reset</a>`,
  ];
}

function written({ bytesPerDay, writtenBytes, lifeUsedPercent }: Wear, cells: Cells): [string, Html] {
  const words = [
    ...(bytesPerDay === null ? [] : [`${bytes(Math.round(bytesPerDay / 1e5) * 1e5)} a day`]),
    ...(writtenBytes === null ? [] : [`${bytes(Math.round(writtenBytes / 1e7) * 1e7)} in all`]),
    ...(lifeUsedPercent === null ? [] : [`${lifeUsedPercent} % of its life used`]),
  ];
  return ['Written to it', cells.text('b.wear', words.join(', '))];
}

function fingerprint(text: string): Html {
  return html`<code>${text}</code>`;
}
