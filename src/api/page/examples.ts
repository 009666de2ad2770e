// Events to try rules with, one of each kind that people think in, as ATAK would write them.
import { escaped } from './html.ts';

export const EXAMPLES = {
  position: 'Position of a friendly unit',
  chat: 'Chat to all',
  alert: 'Alert (911)',
  sensor: 'Feed of a sensor',
  marker: 'Marker on the map',
} as const;
export type Example = keyof typeof EXAMPLES;

/** Types, how it was found out, and what is inside <detail>. */
const EVENTS: Readonly<Record<Example, readonly [type: string, how: string, detail: (team: string) => string]>> = {
  position: [
    'a-f-G-U-C',
    'm-g',
    (team) =>
      `<contact callsign="EXAMPLE" endpoint="*:-1:stcp"/>${team && `<__group name="${escaped(team)}" role="Team Member"/>`}`,
  ],
  chat: [
    'b-t-f',
    'h-g-i-g-o',
    () =>
      '<__chat parent="RootContactGroup" chatroom="All Chat Rooms" id="All Chat Rooms" senderCallsign="EXAMPLE"><chatgrp uid0="EXAMPLE" uid1="All Chat Rooms" id="All Chat Rooms"/></__chat><link uid="EXAMPLE" type="a-f-G-U-C" relation="p-p"/><remarks source="EXAMPLE" to="All Chat Rooms">example</remarks>',
  ],
  alert: [
    'b-a-o-tbl',
    'h-e',
    () =>
      '<link uid="EXAMPLE" type="a-f-G-U-C" relation="p-p"/><contact callsign="EXAMPLE-Alert"/><emergency type="911 Alert">EXAMPLE</emergency>',
  ],
  sensor: ['b-m-p-s-p-loc', 'm-g', () => '<contact callsign="EXAMPLE-CAM"/><sensor azimuth="0" fov="45" range="100"/>'],
  marker: ['b-m-p-s-m', 'h-g-i-g-o', () => '<contact callsign="EXAMPLE point"/><archive/>'],
};

export interface ExamplePlace {
  readonly lat: number;
  readonly lon: number;
  /** Of the unit that is shown; '': it says none. */
  readonly team: string;
}

/** CoT XML of now, good for two minutes. */
export function exampleXml(what: Example, { lat, lon, team }: ExamplePlace, nowMs: number): string {
  const [type, how, detail] = EVENTS[what];
  const [now, stale] = [nowMs, nowMs + 120_000].map((ms) => new Date(ms).toISOString());
  return (
    `<event version="2.0" uid="EXAMPLE-${what}" type="${type}" how="${how}" time="${now}" start="${now}" stale="${stale}">` +
    `<point lat="${lat}" lon="${lon}" hae="0" ce="10" le="10"/><detail>${detail(team)}</detail></event>`
  );
}
