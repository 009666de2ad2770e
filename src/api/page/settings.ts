// The form of a link's filters and budget, and what it changes of the file: what is as it was is not touched, comments and all.
import * as z from 'zod';
import type { Section } from '../../config/links-edit.ts';
import { PROFILES } from '../../core/budget.ts';
import { Refusal } from '../refusal.ts';
import { type Html, html } from './html.ts';
import { mergePatch } from './yaml.ts';

const MAX_TEXT = 8_192;

/** How one kind of value is shown as text, read from it, and asked for. */
interface Kind {
  show(value: unknown): string;
  /** @throws Refusal 400 */
  read(text: string): unknown;
  input(id: string, text: string): Html;
}

interface Field {
  /** Below the link, as in the file. */
  readonly path: readonly string[];
  readonly label: string;
  readonly kind: Kind;
}

// --- kinds of values ---------------------------------------------------------------------------------------------------

const lines: Kind['input'] = (id, text) =>
  html`<textarea id="${id}" name="${id}" rows="${Math.min(8, text.split('\n').length + 1)}" spellcheck="false" autocapitalize="off">${text}</textarea>`;

const LIST: Kind = {
  show: (value) => (Array.isArray(value) ? value.map(String).join('\n') : ''),
  read: (text) => text.split('\n'),
  input: lines,
};

/** Numbers of each, for people; a polygon has at least three corners. */
const AREA_WORDS: Readonly<Record<string, string>> = {
  box: 'box SOUTH WEST NORTH EAST',
  circle: 'circle LAT LON KM',
  polygon: 'polygon LAT LON LAT LON LAT LON …',
};

const AREAS: Kind = {
  show: (value) => (Array.isArray(value) ? value.map(areaWords).join('\n') : ''),
  read: (text) => text.split('\n').map(areaOf),
  input: lines,
};

function areaWords(area: unknown): string {
  return Object.entries((area ?? {}) as Section)
    .map(([shape, numbers]) => `${shape} ${[numbers].flat(2).join(' ')}`)
    .join(' ');
}

function areaOf(text: string): Section {
  const [shape = '', ...rest] = text.trim().split(/[\s,]+/);
  const numbers = rest.map(Number);
  if (!isArea(shape, numbers.length) || numbers.some(Number.isNaN)) {
    const expected = Object.values(AREA_WORDS).join('; ');
    throw new Refusal(400, 'bad_value', `no area: ${text}`, { fix: `one a line: ${expected}` });
  }
  const pairs = numbers.flatMap((lat, at) => (at % 2 === 0 ? [[lat, numbers[at + 1]]] : []));
  return { [shape]: shape === 'polygon' ? pairs : numbers };
}

function isArea(shape: string, numbers: number): boolean {
  if (shape === 'polygon') return numbers % 2 === 0;
  return (shape === 'box' && numbers === 4) || (shape === 'circle' && numbers === 3);
}

const SCALES = { '': 1, k: 1e3, M: 1e6, G: 1e9 } as const;
type Scale = keyof typeof SCALES;

/** "5M" is 5,000,000. */
const AMOUNT: Kind = {
  show(value) {
    if (typeof value !== 'number') return '';
    const scale = (['G', 'M', 'k'] as const).find((one) => value >= SCALES[one]) ?? '';
    const short = `${value / SCALES[scale]}${scale}`;
    return short.length <= 6 ? short : String(value);
  },
  read(text) {
    const [, number, scale] = /^(\d{1,15}(?:\.\d{1,9})?) ?([kMG]?)$/.exec(text.trim()) ?? [];
    if (number === undefined) {
      throw new Refusal(400, 'bad_value', `no number: ${text}`, { fix: 'such as 300, 64k, 2.5M or 1G' });
    }
    return Math.round(Number(number) * SCALES[scale as Scale] * 1e6) / 1e6;
  },
  input: (id, text) => html`<input id="${id}" name="${id}" value="${text}" autocomplete="off" spellcheck="false">`,
};

const SECONDS: Kind = { ...AMOUNT, show: (value) => (typeof value === 'number' ? String(value) : '') };

/** One of some words, or what the file does not say. */
function choice(words: readonly (readonly [value: unknown, words: string])[]): Kind {
  return {
    show: (value) => (value === undefined ? '' : String(value)),
    read(text) {
      const found = words.find(([value]) => String(value) === text);
      if (!found) throw new Refusal(400, 'bad_value', `no such choice: ${text}`);
      return found[0];
    },
    input: (id, text) =>
      html`<select id="${id}" name="${id}"><option value="">as usual</option>${words.map(
        ([value, label]) =>
          html`<option value="${String(value)}"${String(value) === text && html` selected`}>${label}</option>`,
      )}</select>`,
  };
}

// --- the form ----------------------------------------------------------------------------------------------------------

const direction = (section: string): readonly Field[] => [
  { path: ['policy', section, 'allow_types'], label: 'Only these event types', kind: LIST },
  { path: ['policy', section, 'block_types'], label: 'Never these event types', kind: LIST },
  { path: ['policy', section, 'areas'], label: 'Only from these areas', kind: AREAS },
  { path: ['policy', section, 'block_areas'], label: 'Never from these areas', kind: AREAS },
  { path: ['policy', section, 'every_seconds'], label: 'One position of a unit in so many seconds', kind: SECONDS },
  { path: ['policy', section, 'max_age_seconds'], label: 'Nothing older than so many seconds', kind: SECONDS },
  {
    path: ['policy', section, 'alerts'],
    label: 'Emergencies',
    kind: choice([
      ['always', 'always, whatever is said here'],
      [true, 'like everything else'],
      [false, 'never'],
    ]),
  },
];

const GROUPS: readonly (readonly [title: string, fields: readonly Field[]])[] = [
  [
    'Both ways',
    [
      { path: ['policy', 'allow_types'], label: 'Only event types that begin so', kind: LIST },
      { path: ['policy', 'block_types'], label: 'Never event types that begin so', kind: LIST },
      { path: ['policy', 'groups_in'], label: 'Take only from these groups (THEIRS:OURS renames)', kind: LIST },
      { path: ['policy', 'groups_out'], label: 'Send only what is in these groups (THEIRS:OURS renames)', kind: LIST },
    ],
  ],
  ['What comes in', direction('filter_in')],
  ['What goes out', direction('filter_out')],
  [
    'Budget',
    [
      { path: ['budget', 'profile'], label: 'Kind of line', kind: choice(PROFILES.map((one) => [one, one])) },
      { path: ['budget', 'rate'], label: 'Most bits a second', kind: AMOUNT },
      { path: ['budget', 'per_day'], label: 'Most bytes a day (UTC)', kind: AMOUNT },
      {
        path: ['budget', 'metered'],
        label: 'Each byte costs',
        kind: choice([
          [true, 'yes: what tells nothing new waits'],
          [false, 'no'],
        ]),
      },
    ],
  ],
];

const FIELDS = GROUPS.flatMap(([, fields]) => fields);
const nameOf = ({ path }: Field) => path.join('.');

/** Of the form as it is sent: a text for every field, '' for what the file is not to say. */
export const settingsBody = z.strictObject({
  etag: z.string().max(64),
  ...Object.fromEntries(FIELDS.map((field) => [nameOf(field), z.string().max(MAX_TEXT).default('')])),
});
export type SettingsBody = Readonly<Record<string, string>> & { readonly etag: string };

/** The fields; the form around them is the caller's. */
export function settingsFields(entry: Section): Html {
  return html`${GROUPS.map(
    ([title, fields]) =>
      html`<fieldset><legend>${title}</legend>${fields.map((field) => {
        const id = nameOf(field);
        return html`<p><label for="${id}">${field.label}</label>${field.kind.input(id, field.kind.show(at(entry, field.path)))}</p>`;
      })}</fieldset>`,
  )}<p class="muted">Lists: one a line. Areas: ${Object.values(AREA_WORDS).join('; ')}. Numbers: 64k, 2.5M. Empty: the file says nothing of it.</p>`;
}

/** The merge patch (RFC 7396) that makes of the link what the form says. @throws Refusal 400 for what cannot be read */
export function settingsPatch(entry: Section, body: SettingsBody): Section {
  const wanted = structuredClone(entry) as Record<string, unknown>;
  for (const field of FIELDS) {
    const text = tidy(body[nameOf(field)] ?? '');
    // What was shown and came back is what stands there, however it is written.
    if (text === field.kind.show(at(entry, field.path))) continue;
    put(wanted, field.path, text === '' ? undefined : field.kind.read(text));
  }
  return mergePatch(entry, wanted);
}

/** As the browser was given it: its line ends are its own. */
function tidy(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');
}

function at(entry: Section, path: readonly string[]): unknown {
  return path.reduce<unknown>((below, key) => (below as Section | null | undefined)?.[key], entry);
}

/** Undefined takes it away, and sections that would be empty then. */
function put(section: Record<string, unknown>, [key, ...rest]: readonly string[], value: unknown): void {
  if (key === undefined) return;
  if (rest.length === 0) {
    if (value === undefined) delete section[key];
    else section[key] = value;
    return;
  }
  const below = { ...(section[key] as Section | null | undefined) };
  put(below, rest, value);
  if (Object.keys(below).length > 0) section[key] = below;
  else delete section[key];
}
