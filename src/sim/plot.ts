// The results as one SVG: age of the picture over time, and how long each alert took, one colour a rule. Logarithmic: rules differ
// by factors.
import type { Point, Result } from './measure.ts';

const WIDTH = 900;
const HEIGHT = 340;
const LEFT = 70;
const RIGHT = 300;
const TOP = 40;
const BOTTOM = 40;
const COLOURS = ['#9e9e9e', '#8d6e63', '#5c6bc0', '#26a69a', '#ef6c00', '#ab47bc', '#42a5f5', '#d50000'];
/** Seconds at which lines are drawn. */
const GRID_S = [0.1, 1, 10, 100, 1000, 10_000];

interface Panel {
  readonly title: string;
  readonly top: number;
  readonly fromS: number;
  readonly toS: number;
  readonly durationMs: number;
}

export function plot(results: readonly Result[], durationMs: number, title: string): string {
  const age: Panel = {
    title: `${title}: age of the newest fix, 95 of 100 units are better`,
    top: 0,
    fromS: 1,
    toS: 5000,
    durationMs,
  };
  const alerts: Panel = { title: 'Alerts: seconds until delivered', top: HEIGHT, fromS: 0.1, toS: 5000, durationMs };
  const curves = results.map(({ ageCurve }, n) => curve(ageCurve, age, colourOf(n)));
  const dots = results.map(({ alertPoints }, n) =>
    alertPoints.map((point) => dot(point, alerts, colourOf(n))).join(''),
  );
  const body = [frame(age), ...curves, legend(results, age), frame(alerts), ...dots, delivered(results, alerts)];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${2 * HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
${body.join('\n')}
</svg>
`;
}

const colourOf = (n: number) => COLOURS[n % COLOURS.length]!;

function x(atMs: number, { durationMs }: Panel): number {
  return LEFT + (atMs / durationMs) * (WIDTH - LEFT - RIGHT);
}

function y(seconds: number, { top, fromS, toS }: Panel): number {
  const part = Math.log(Math.max(seconds, fromS) / fromS) / Math.log(toS / fromS);
  return top + HEIGHT - BOTTOM - Math.min(1, part) * (HEIGHT - TOP - BOTTOM);
}

function frame(panel: Panel): string {
  const lines = GRID_S.filter((s) => s >= panel.fromS && s <= panel.toS).map((s) => {
    const at = y(s, panel).toFixed(1);
    return `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="#ddd"/>${text(LEFT - 8, Number(at) + 4, `${s} s`, 'end')}`;
  });
  const bottom = panel.top + HEIGHT - BOTTOM;
  const minutes = Math.round(panel.durationMs / 60_000);
  const axis = [text(LEFT, bottom + 18, '0 min'), text(WIDTH - RIGHT, bottom + 18, `${minutes} min`, 'end')];
  return [
    `<text x="${LEFT}" y="${panel.top + 24}" font-size="14">${escaped(panel.title)}</text>`,
    ...lines,
    ...axis,
  ].join('');
}

function curve(points: readonly Point[], panel: Panel, colour: string): string {
  const places = points.map(
    ({ atMs, valueMs }) => `${x(atMs, panel).toFixed(1)},${y(valueMs / 1000, panel).toFixed(1)}`,
  );
  return `<polyline points="${places.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
}

function dot({ atMs, valueMs }: Point, panel: Panel, colour: string): string {
  return `<circle cx="${x(atMs, panel).toFixed(1)}" cy="${y(valueMs / 1000, panel).toFixed(1)}" r="4" fill="${colour}" fill-opacity="0.7"/>`;
}

function legend(results: readonly Result[], panel: Panel): string {
  return results.map(({ rule }, n) => entry(rule, n, panel)).join('');
}

function delivered(results: readonly Result[], panel: Panel): string {
  return results.map(({ alerts }, n) => entry(`${alerts.delivered} of ${alerts.offered} delivered`, n, panel)).join('');
}

function entry(words: string, n: number, { top }: Panel): string {
  const at = top + TOP + 10 + 20 * n;
  const left = WIDTH - RIGHT + 16;
  return `<rect x="${left}" y="${at - 9}" width="12" height="10" fill="${colourOf(n)}"/>${text(left + 18, at, words)}`;
}

function text(left: number, top: number, words: string, anchor = 'start'): string {
  return `<text x="${left}" y="${top}" text-anchor="${anchor}">${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
