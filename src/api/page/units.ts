// The units heard: where they are to each other, and a list. For whoever may see positions.
import type { Unit, Units } from '../../core/fleet.ts';
import type { RelayStatus } from '../../core/status.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';
import { scatter } from './pictures.ts';
import type { PageData } from './view.ts';
import { duration, plural } from './words.ts';

const MAX_ROWS = 50;

/** Who is there is told at once; where they are, they always move: now and then. */
export function unitsPart({ units, status }: PageData, cells: Cells): Html {
  if (!units) return cells.section('units', () => hidden(status, cells));
  return cells.section('units', () => shown(units, cells), whoOf(units));
}

/** Where there are more than are shown, the newest are others at every look: that tells nothing. */
function whoOf({ total, units }: Units): string {
  if (total > units.length) return 'many';
  return units
    .map(({ uid, callsign }) => `${uid} ${callsign}`)
    .sort()
    .join('\n');
}

function shown({ total, units }: Units, cells: Cells): Html {
  const rows = units.slice(0, MAX_ROWS);
  return section(html`<p>${cells.text('u.total', total === 0 ? 'None yet' : plural(total, 'unit'))}</p>
${
  total > 0 &&
  html`${scatter(units)}<details><summary>List of ${total > rows.length ? `the newest ${rows.length}` : 'units'}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Units"><table><thead><tr><th scope="col">Callsign</th><th scope="col">Team</th><th scope="col">From</th><th scope="col">Fix</th><th scope="col">Position</th></tr></thead><tbody>${rows.map(
    (unit) => row(unit, cells.nowMs),
  )}</tbody></table></div></details>`
}`);
}

/** Where units are is not for everybody who reaches the port. */
function hidden({ units }: RelayStatus, cells: Cells): Html {
  return section(
    html`<p>${cells.text('u.total', units === 0 ? 'None yet' : plural(units, 'unit'))}; where they are is shown to whoever is logged in.</p>`,
  );
}

function section(body: Html): Html {
  return html`<section id="units" aria-labelledby="h-units"><h2 id="h-units">Units heard</h2>${body}</section>`;
}

function row({ callsign, uid, team, from, ageMs, lat, lon }: Unit, nowMs: number): Html {
  const fixed = Math.round((nowMs - ageMs) / 1000) * 1000;
  return html`<tr><td>${callsign || uid}</td><td>${team}</td><td>${from}</td><td><time data-t="${fixed}">${duration(ageMs)}</time> old</td><td>${lat.toFixed(5)}, ${lon.toFixed(5)}</td></tr>`;
}
