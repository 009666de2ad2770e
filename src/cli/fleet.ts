// `waystation fleet`: units and relays of all peers and our own, in one list.
import { parseArgs } from 'node:util';
import type { Fleet, FleetPeer, FleetRelay, FleetUnit } from '../core/fleet.ts';
import { API_HELP, API_OPTIONS, askJson, findApi } from './client.ts';
import { type Command, EXIT } from './command.ts';
import { duration } from './status.ts';
import { table } from './table.ts';

const TIMEOUT_MS = 10_000;

export const fleetCommand: Command = {
  name: 'fleet',
  usage: '[--peer NAME] [--search TEXT] [--json] [--api URL]',
  summary: 'List units and relays of all peers and our own',
  help: [
    '  --peer NAME     only what stands behind this peer',
    '  --search TEXT   only what has it in its id, name, callsign, type or team; the peers do the searching',
    '  --json          as JSON',
    API_HELP,
    '',
    'A peer that cannot be reached is named with the time of last contact; the list goes on without it.',
  ].join('\n'),
  async run(args, context) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...API_OPTIONS,
        json: { type: 'boolean', default: false },
        peer: { type: 'string', default: '' },
        search: { type: 'string', default: '' },
      },
    });
    const query = new URLSearchParams({ peer: values.peer, q: values.search });
    const request = { timeoutMs: TIMEOUT_MS, signal: context.signal };
    const fleet = await askJson<Fleet>(await findApi(values, context), `/api/fleet?${query}`, request);
    context.out(values.json ? JSON.stringify(fleet, null, 2) : renderFleet(fleet));
    return EXIT.ok;
  },
};

export function renderFleet({ peers, relays, units, leftOut }: Fleet): string {
  const more = leftOut > 0 ? [`${leftOut} more match; --search narrows the list`] : [];
  return [
    ...peers.filter(({ reachable }) => !reachable).map(unreachable),
    ...table(['RELAY', 'NAME', 'VERSION', 'UNITS', 'LINKS'], relays.map(relayRow)),
    '',
    ...table(['UNIT', 'CALLSIGN', 'TYPE', 'TEAM', 'LAT', 'LON', 'AGE', 'FROM'], units.map(unitRow)),
    ...more,
  ].join('\n');
}

function unreachable({ name, lastContact, words }: FleetPeer): string {
  return `UNREACHABLE ${name}: ${words}, last contact ${lastContact ?? 'never'}`;
}

function relayRow({ id, name, version, units, links }: FleetRelay): string[] {
  const up = links.filter(({ state }) => state === 'listening' || state === 'connected').length;
  return [id, name, version, String(units), `${up} of ${links.length} up`];
}

function unitRow({ id, callsign, type, team, lat, lon, ageMs, from }: FleetUnit): string[] {
  const age = ageMs < 0 ? `${duration(-ageMs)} ahead` : duration(ageMs);
  return [id, callsign, type, team, lat.toFixed(5), lon.toFixed(5), age, from];
}
