// What a protocol on the way cannot say. As data: the test proves that every line is so, and that nothing else is lost.

export const KINDS = ['cot xml', 'cot tak', 'fed1', 'fed2', 'portal', 'mqtt xml', 'mqtt tak', 'mesh'] as const;
export type Kind = (typeof KINDS)[number];

type Format = 'xml' | 'tak' | 'fed' | 'any';

/** Links of one format hand on bytes; portal hands on whatever came. */
export const FORMATS: Readonly<Record<Kind, Format>> = {
  'cot xml': 'xml',
  'cot tak': 'tak',
  fed1: 'fed',
  fed2: 'fed',
  portal: 'any',
  'mqtt xml': 'xml',
  'mqtt tak': 'tak',
  mesh: 'xml',
};

export interface Loss {
  readonly formats: readonly Format[];
  /** As difference() tells it. */
  readonly what: RegExp;
  /** Events that it happens to; else any. */
  readonly events?: RegExp;
  readonly words: string;
  readonly why: string;
}

export const LOSSES: readonly Loss[] = [
  {
    formats: ['tak', 'fed'],
    what: /^order$/,
    words: 'the order of elements in the detail',
    why: 'some have fields of their own, and stand behind the others when they are XML again',
  },
  {
    formats: ['tak', 'fed'],
    what: /^≈(event@(time|start|stale)|point@(lat|lon|hae|ce|le))$/,
    words: 'how a time or a number of the point was spelt; the value stays',
    why: 'they are milliseconds and doubles there',
  },
  {
    formats: ['fed'],
    what: /^≈detail\/track@(speed|course)$/,
    words: 'how speed and course were spelt; the value stays',
    why: 'they are doubles there',
  },
  {
    formats: ['tak', 'fed'],
    what: /^~point@hae$/,
    events: /^iTAK position$/,
    words: 'an altitude of NaN becomes 9999999.0, which is "not known" in CoT',
    why: 'clients read an altitude that is no number in different ways',
  },
  {
    formats: ['tak', 'fed'],
    what: /^\+detail$/,
    events: /^no detail$/,
    words: 'an event without a detail gets an empty one',
    why: 'TAK servers drop events without it',
  },
  {
    formats: ['fed'],
    what: /^-event@(qos|opex)$/,
    events: /^every attribute$/,
    words: 'the attributes qos and opex',
    why: 'a GeoEvent has no fields for them',
  },
  {
    formats: ['fed'],
    what: /^~detail\/marti$/,
    events: /^mission and unit$/,
    words: 'which uid, callsign and mission stood in one dest together',
    why: 'they are three lists there',
  },
];

/** What does not arrive as an event at all. */
export interface Absence {
  readonly events: RegExp;
  readonly from?: readonly Kind[];
  readonly to?: readonly Kind[];
  readonly words: string;
  readonly why: string;
}

export const ABSENCES: readonly Absence[] = [
  {
    events: /^file transfer$/,
    to: ['fed2'],
    words: 'the notice of a file for one person (b-f-t-r)',
    why: 'TAK servers take it as a package (ROL) behind the file itself, and here is no file',
  },
  {
    events: /^file transfer$/,
    from: ['fed2'],
    words: 'the same',
    why: 'nor does a Waystation say it to another by this protocol without the file',
  },
  {
    events: /^forced delete$/,
    to: ['fed1', 'fed2'],
    words: 'a user’s deletion of a map item everywhere (t-x-d-d with __forcedelete)',
    why: 'TAK servers know this type as "a contact left" alone, and that is what they are told',
  },
  {
    events: /^forced delete$/,
    from: ['fed1', 'fed2'],
    words: 'the same',
    why: 'they tell only that a contact left, and nobody of that name was here',
  },
];
