// The four toggles of a peer as boxes of a form: In, Out, DP-In, DP-Out.
import * as z from 'zod';
import { type Html, html } from './html.ts';

/** A box that is not ticked is not sent. */
export const ticked = z.literal('on').optional();
export const ways = { in: ticked, out: ticked, dp_in: ticked, dp_out: ticked };

export function offOf(said: Readonly<Record<string, 'on' | undefined>>): Record<string, false> {
  const off = Object.keys(ways).filter((way) => said[way] === undefined);
  return Object.fromEntries(off.map((way) => [way, false as const]));
}

const WAYS = [
  ['in', 'In: take events from them'],
  ['out', 'Out: send them events'],
  ['dp_in', 'DP-In: take data packages'],
  ['dp_out', 'DP-Out: send data packages'],
] as const;

export function boxes(of: string, off: Readonly<Record<string, unknown>> = {}): Html {
  return html`<fieldset><legend>What crosses</legend>${WAYS.map(
    ([way, words]) =>
      html`<p><input type="checkbox" id="${of}-${way}" name="${way}" ${off[way] === false ? '' : html`checked`}> <label for="${of}-${way}">${words}</label></p>`,
  )}</fieldset>`;
}

/** The toggles that are on, as they stand beside a name. */
export function chips(peer: { readonly [way in keyof typeof ways]: boolean }): string {
  const on = WAYS.flatMap(([way, words]) => (peer[way] ? [words.split(':', 1)[0]!] : []));
  return on.length > 0 ? on.join(' ') : 'nothing crosses';
}
