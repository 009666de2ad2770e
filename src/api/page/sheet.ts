// What is handed to the owners of phones: a card each, with QR codes, on the page or on a sheet of its own that prints well.
import * as z from 'zod';
import { qrPath, wifiText } from '../../onboarding/addresses.ts';
import type { Station } from '../../onboarding/packages.ts';
import { presetWords } from '../../onboarding/presets.ts';
import type { Card } from '../phones.ts';
import { type Html, html } from './html.ts';
import { minuteOf } from './words.ts';

export interface Wifi {
  readonly ssid: string;
  readonly passphrase: string;
}

export interface Sheet {
  readonly box: Pick<Station, 'name' | 'caFingerprint'>;
  readonly cards: readonly Card[];
  readonly wifi: Wifi | undefined;
  readonly nowMs: number;
}

/** Not kept anywhere: only for the QR code on the sheet. */
export const wifiFields = {
  ssid: z.string().max(32).default(''),
  passphrase: z.string().max(63).default(''),
};

export function wifiOf({ ssid, passphrase }: Wifi): Wifi | undefined {
  return ssid === '' ? undefined : { ssid, passphrase };
}

const STYLE = `body{font:11pt/1.4 system-ui,sans-serif;margin:1cm;color:#000;background:#fff;overflow-wrap:anywhere}
h1{font-size:16pt;margin:0}.person{border-top:1px solid #000;padding:.4cm 0;break-inside:avoid}.codes{display:flex;flex-wrap:wrap;gap:.6cm}
figure{margin:0;max-width:6.5cm}figcaption{font-size:9pt}svg{width:5.5cm;height:5.5cm;display:block}code{font-size:10pt}.big{font-size:13pt}`;

/** A document that needs nothing but itself. */
export function sheetDocument(sheet: Sheet): string {
  return html`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>Phones of ${sheet.box.name}</title><style>${STYLE}</style></head><body><main><h1>Phones of ${sheet.box.name}</h1>${sheetBody(sheet)}</main></body></html>\n`
    .text;
}

/** The cards, under a heading that the page has written. */
export function sheetBody({ box, cards, wifi, nowMs }: Sheet): Html {
  return html`<p>Made ${minute(nowMs)} UTC. Each code works once. Until it is used, whoever has it can join in that name: give each card to its phone's owner, and keep none.</p>
<p>CA of this box, SHA-256: <code>${colons(box.caFingerprint)}</code></p>
${wifi && html`<section class="person"><h2>Join the Wi-Fi</h2>${figure(wifiText(wifi.ssid, wifi.passphrase), 'Wi-Fi', wifi.ssid)}</section>`}
${cards.map(cardHtml)}`;
}

function cardHtml({ invitation, join, atak, enroll, preference }: Card): Html {
  const { phone, code, endsMs } = invitation;
  const more = presetWords(phone.presets);
  return html`<section class="person"><h2>${phone.name}</h2>${more && html`<p>${more}</p>`}<div class="codes">${figure(
    join,
    `${phone.name}: page to choose the app`,
    'Any phone: scan with the camera, on this box’s Wi-Fi, and choose the app',
  )}${figure(atak, `${phone.name}: for ATAK`, 'ATAK 5.1 or newer: scan, and confirm in ATAK')}${
    enroll &&
    figure(enroll, `${phone.name}: to enrol`, 'ATAK 5.1 or newer, enrolling: needs a certificate of a public CA here')
  }${preference && figure(preference, `${phone.name}: callsign, team and role`, 'ATAK 5.1 or newer that has joined: sets these alone; works again and again')}</div><p>Or open <code>${join}</code><br>Code <code class="big">${code}</code>, good until ${minute(endsMs)} UTC</p></section>`;
}

function figure(text: string, label: string, words: string): Html {
  return html`<figure>${qr(text, label)}<figcaption>${words}</figcaption></figure>`;
}

/** Black on white in every theme: night red on black is no code to a camera. */
function qr(text: string, label: string): Html {
  const { size, path } = qrPath(text);
  return html`<svg class="qr" role="img" aria-label="QR code, ${label}" viewBox="0 0 ${size} ${size}" width="240" height="240" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}h-${size}z"/><path fill="#000" d="${path}"/></svg>`;
}

export function minute(ms: number): string {
  return minuteOf(new Date(ms).toISOString());
}

function colons(fingerprint: string): string {
  return (fingerprint.toUpperCase().match(/../g) ?? []).join(':');
}
