// Two pictures as inline SVG: who is linked to this box, and where the units are that it hears.
import type { Unit } from '../../core/fleet.ts';
import type { PeerStatus, RelayStatus } from '../../core/status.ts';
import { metresBetween, type Place } from '../../lib/geo.ts';
import type { Charts } from './cards.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';
import { labelOf, type Standing, standingOf, uplinks } from './sentences.ts';
import { distance, plural } from './words.ts';

// --- who is linked ---------------------------------------------------------------------------------------------------

const MAX_NODES = 16;
const MAX_LABEL = 14;
const AREA = { width: 360, height: 240, rx: 130, ry: 85 };

interface Node {
  readonly name: string;
  readonly standing: Standing;
  readonly perSecond: number;
}

export function topology(status: RelayStatus, charts: Charts, cells: Cells): Html {
  const links = new Map(status.links.map((link) => [link.name, link]));
  const nodes: Node[] = uplinks(status)
    .slice(0, MAX_NODES)
    .map((peer) => ({
      name: labelOf(peer),
      standing: standingOf(peer, links.get(peer.link)),
      perSecond: traffic(peer, charts),
    }));
  const clients = status.peers.filter(({ durable, connected }) => !durable && connected);
  if (clients.length > 0) {
    const perSecond = clients.reduce((sum, peer) => sum + traffic(peer, charts), 0);
    nodes.push({ name: 'phones', standing: 'good', perSecond });
  }
  const more = uplinks(status).length - MAX_NODES;
  const drawn = nodes.map((node, at) => drawNode(node, at, nodes.length, cells));
  const { width, height } = AREA;
  return html`<svg class="topology" viewBox="0 0 ${width} ${height}" role="img" aria-label="${summary(status.name, nodes, more)}">
${drawn.map(({ line }) => line)}<g class="hub"><rect x="${width / 2 - 46}" y="${height / 2 - 15}" width="92" height="30" rx="6"/><text x="${
    width / 2
  }" y="${height / 2 + 5}">${cut(status.name)}</text></g>${drawn.map(({ mark }) => mark)}</svg>${
    more > 0 && html`<p class="muted">${plural(more, 'more uplink')} not drawn</p>`
  }`;
}

function traffic(peer: PeerStatus, charts: Charts): number {
  const { in: ins, out } = charts.rates(peer.key);
  return ins + out;
}

function summary(name: string, nodes: readonly Node[], more: number): string {
  const said = nodes.map((node) => `${node.name} ${STANDING_WORDS[node.standing]}`);
  return `${name} in the middle, linked with: ${said.join(', ') || 'nobody'}${more > 0 ? ` and ${more} more` : ''}`;
}

const STANDING_WORDS: Readonly<Record<Standing, string>> = {
  good: '(up)',
  doubtful: '(doubtful)',
  bad: '(down)',
  off: '(off)',
};

function drawNode(node: Node, at: number, count: number, cells: Cells): { line: Html; mark: Html } {
  const angle = -Math.PI / 2 + (2 * Math.PI * (at + 0.5)) / count;
  const { width, height, rx, ry } = AREA;
  const x = Math.round(width / 2 + rx * Math.cos(angle));
  const y = Math.round(height / 2 + ry * Math.sin(angle));
  const thick = (1.5 + Math.min(6, Math.log2(1 + node.perSecond))).toFixed(1);
  return {
    line: html`<line class="${node.standing}" x1="${width / 2}" y1="${height / 2}" x2="${x}" y2="${y}"${cells.attribute(`t.${at}`, 'stroke-width', thick)}/>`,
    mark: html`<g class="${node.standing}">${shape(node.standing, x, y)}<text x="${x}" y="${y + 24}">${cut(node.name)}</text></g>`,
  };
}

function shape(standing: Standing, x: number, y: number): Html {
  if (standing === 'bad') return html`<rect x="${x - 8}" y="${y - 8}" width="16" height="16"/>`;
  if (standing === 'doubtful') return html`<path d="M${x} ${y - 10}L${x + 10} ${y + 8}H${x - 10}Z"/>`;
  return html`<circle cx="${x}" cy="${y}" r="9"/>`;
}

function cut(text: string): string {
  return text.length > MAX_LABEL ? `${text.slice(0, MAX_LABEL - 1)}…` : text;
}

// --- where the units are ---------------------------------------------------------------------------------------------

const SIDE = 320;
const RADIUS = SIDE / 2 - 24;
const MAX_LABELLED = 20;
/** Of the units, how many the outer ring must hold; those beyond stand on the edge. */
const WITHIN = 0.9;

/** North up, around the middle of all; rings tell distances. */
export function scatter(units: readonly Unit[]): Html {
  const middle = { lat: median(units.map(({ lat }) => lat)), lon: median(units.map(({ lon }) => lon)) };
  const far = units.map((unit) => metresBetween(middle, unit)).sort((a, b) => a - b);
  const ring = niceAbove(far[Math.max(0, Math.ceil(far.length * WITHIN) - 1)] ?? 0);
  const half = SIDE / 2;
  const labelled = units.length <= MAX_LABELLED;
  const outside = far.filter((metres) => metres > ring).length;
  return html`<svg class="scatter" viewBox="0 0 ${SIDE} ${SIDE}" role="img" aria-label="${plural(units.length, 'unit')}, north up, outer ring ${distance(ring)}">
<circle class="ring" cx="${half}" cy="${half}" r="${RADIUS}"/><circle class="ring" cx="${half}" cy="${half}" r="${RADIUS / 2}"/><path class="ring" d="M${half} 4V${SIDE - 4}M4 ${half}H${
    SIDE - 4
  }"/><text x="${half + 8}" y="16">N</text><text x="${half + 4}" y="${half - RADIUS + 14}">${distance(ring)}</text><text x="${half + 4}" y="${
    half - RADIUS / 2 + 14
  }">${distance(ring / 2)}</text>
${units.map((unit) => dot(unit, middle, ring, labelled))}</svg>${outside > 0 && html`<p class="muted">${plural(outside, 'unit')} beyond the outer ring, drawn on the edge</p>`}`;
}

function dot(unit: Unit, middle: Place, ring: number, labelled: boolean): Html {
  const metres = metresBetween(middle, unit);
  let east = unit.lon - middle.lon;
  if (Math.abs(east) > 180) east -= 360 * Math.sign(east);
  const angle = Math.atan2(east * Math.cos((middle.lat * Math.PI) / 180), unit.lat - middle.lat);
  const r = Math.min(1, metres / ring) * RADIUS;
  const x = Math.round(SIDE / 2 + r * Math.sin(angle));
  const y = Math.round(SIDE / 2 - r * Math.cos(angle));
  return html`<g class="unit">${unitShape(unit.type, x, y)}${labelled && html`<text x="${x + 7}" y="${y + 4}">${cut(unit.callsign || unit.uid)}</text>`}</g>`;
}

/** As MIL-STD-2525 frames them: friend round, hostile a diamond, neutral a square, unknown a triangle. */
function unitShape(type: string, x: number, y: number): Html {
  const affiliation = type[2];
  if (affiliation === 'h' || affiliation === 's') return html`<path d="M${x} ${y - 6}l6 6l-6 6l-6 -6Z"/>`;
  if (affiliation === 'n') return html`<rect x="${x - 4}" y="${y - 4}" width="8" height="8"/>`;
  if (affiliation === 'f' || affiliation === 'a') return html`<circle cx="${x}" cy="${y}" r="4"/>`;
  return html`<path d="M${x} ${y - 5}l5 9h-10Z"/>`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** 1, 2 or 5 times a power of ten, at least 100 m. */
function niceAbove(metres: number): number {
  for (let step = 100; ; step *= 10) for (const factor of [1, 2, 5]) if (step * factor >= metres) return step * factor;
}
