// The whole status page from one RelayStatus: works as it is, and stays current where scripts run (page.js, live.ts).
import type { NumberedEvent } from '../../core/events.ts';
import type { Units } from '../../core/fleet.ts';
import type { RelayStatus } from '../../core/status.ts';
import type { LogLine } from '../../lib/log-ring.ts';
import { type Charts, cards } from './cards.ts';
import type { Cells } from './cells.ts';
import { eventsPart, logPart } from './happened.ts';
import { type Html, html } from './html.ts';
import { topology } from './pictures.ts';
import { MARKS, sentences } from './sentences.ts';
import { thisBoxPart } from './this-box.ts';
import { transfersPart } from './transfers.ts';
import { unitsPart } from './units.ts';

export interface PageData {
  readonly status: RelayStatus;
  readonly charts: Charts;
  /** The newest first; undefined: whoever looks may not see where units are. */
  readonly units: Units | undefined;
  /** The newest last. */
  readonly events: readonly NumberedEvent[];
  /** The newest last; undefined: whoever looks may not read the log. */
  readonly log: readonly LogLine[] | undefined;
  /** Whoever looks may change links. */
  readonly mayChange: boolean;
}

/** What the page offers to whoever asks, around what it shows. */
export interface PageFrame {
  readonly theme: Theme | undefined;
  /** Where to log in; '' when that is not possible, or was done. */
  readonly loginHref: string;
  /** What forms must send back; '' unless the caller is logged in here. */
  readonly csrf: string;
  /** Without scripts the page is loaded anew now and then; not one with a form that somebody fills in. */
  readonly reloads: boolean;
  /** Radio silence is kept. */
  readonly silent: boolean;
  /** What the script of a page that is kept current goes on from (live.ts), and our time; undefined: it is not. */
  readonly live: { readonly at: string; readonly nowMs: number } | undefined;
}

export const THEMES = ['day', 'dark', 'red'] as const;
export type Theme = (typeof THEMES)[number];

const THEME_WORDS: Readonly<Record<Theme, string>> = { day: 'Day', dark: 'Dark', red: 'Night red' };

/** The document around any page of this box. */
export function frame(title: string, { theme, loginHref, csrf, reloads, silent, live }: PageFrame, main: Html): Html {
  return html`<!doctype html><html lang="en"${theme && html` data-theme="${theme}"`}><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark"><title>${title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"><script src="/page.js" defer></script>${reloads && html`<noscript><meta http-equiv="refresh" content="15"></noscript>`}</head><body${live && html` data-at="${live.at}" data-now="${live.nowMs}"`}>
${csrf && silent && html`<nav aria-label="Silence">${emconForm(true, csrf)}</nav>`}${main}
<footer><nav aria-label="Display">${THEMES.map(
    (one) => html`<a href="?theme=${one}" data-set-theme="${one}">${THEME_WORDS[one]}</a>`,
  )}</nav><nav aria-label="More"><a href="/join">Join with a phone</a><a href="/ca.pem" download>CA certificate</a><a href="/federation.pem" download>Federation certificate</a><a href="/api/status">Status as JSON</a><a href="/metrics">Metrics</a>${loginHref && html`<a href="${loginHref}">Log in to change things</a>`}</nav>${
    csrf &&
    html`<nav aria-label="Changes"><a href="/">Status</a><a href="/doctor">What is wrong?</a><a href="/add">Add a link</a><a href="/phones">Phones</a><a href="/federation">Federation</a><a href="/partners">Partners</a><a href="/fleet">Fleet</a><a href="/policy">Would it cross?</a><a href="/recording">Recorder</a>${!silent && emconForm(false, csrf)}<form method="post" action="/bundle">${secretField(csrf)}<button class="second">Support bundle</button></form><form method="post" action="/logout">${secretField(csrf)}<button class="second">Log out</button></form></nav>`
  }</footer></body></html>`;
}

/** One tap each: silence can be ended as quickly as begun. */
export function emconForm(silent: boolean, csrf: string): Html {
  const words = silent ? 'End radio silence' : 'Radio silence';
  return html`<form method="post" action="/emcon">${secretField(csrf)}<input type="hidden" name="silent" value="${String(!silent)}"><button class="second">${words}</button></form>`;
}

/** Goes with every form of somebody who is logged in (gate.ts). */
export function secretField(csrf: string): Html {
  return html`<input type="hidden" name="csrf" value="${csrf}">`;
}

/** What is inside <main>, in the sections in which it is kept current. */
export function main(data: PageData, cells: Cells): Html {
  const { status, charts } = data;
  const offers = { doctor: data.units !== undefined, change: data.mayChange };
  return cells.section(
    'main',
    () => html`<main id="main"><header><h1>${status.name}</h1><p class="muted">Waystation ${status.version}, running for ${cells.age('up', status.uptimeMs)} <span id="live"></span></p></header>
${cells.section('truth', () => sentences(status, cells))}
${cells.section('warnings', () => warnings(status))}
${cells.section('net', () => html`<section id="net" aria-labelledby="h-net"><h2 id="h-net">Network</h2>${topology(status, charts, cells)}</section>`)}
${cells.section('links', () => html`<section id="links" aria-labelledby="h-links"><h2 id="h-links">Links</h2>${cards(status, charts, offers, cells)}</section>`)}
${unitsPart(data, cells)}
${cells.section('files', () => transfersPart(status, cells))}
${cells.section('box', () => thisBoxPart(status, cells))}
${cells.section('events', () => eventsPart(data.events, cells))}
${data.log && cells.section('log', () => logPart(data.log ?? [], cells))}</main>`,
  );
}

function warnings({ warnings }: RelayStatus): Html {
  if (warnings.length === 0) return html`<div id="warnings"></div>`;
  return html`<section id="warnings" aria-label="Warnings" class="warnings">${warnings.map(
    ({ words, fix }) => html`<p><b>${MARKS.doubtful}</b> ${words}${fix && html`<br><b>Fix:</b> ${fix}`}</p>`,
  )}</section>`;
}
