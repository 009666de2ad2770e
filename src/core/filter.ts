// Rules about single messages: an ordered list per direction, made into functions once and asked for every message. The first
// `allow` or `deny` that speaks of a message decides. What no rule decides crosses, unless the list has an `allow`.
//
// A rule that cannot tell decides against: a contact has no position, a mission may hold anything. So an `allow` needs a yes, a
// `deny` stops what it cannot rule out.
import { type Area, inside } from './area.ts';
import type { CotEvent, Message } from './message.ts';

/** What a rule speaks of: all that is given must hold, of each list one entry. Patterns have `*` for anything and `?` for a character. */
export interface Match {
  /** Prefixes, as `a-f-`. */
  readonly types?: readonly string[] | undefined;
  /** Patterns: the callsign of a unit or marker, or of who sends a chat message. */
  readonly callsigns?: readonly string[] | undefined;
  /** Patterns. */
  readonly uids?: readonly string[] | undefined;
  /** Colours of ATAK's teams. */
  readonly teams?: readonly string[] | undefined;
  /** TAK groups, by their names here. */
  readonly groups?: readonly string[] | undefined;
  /** Patterns: uids of data feeds. */
  readonly feeds?: readonly string[] | undefined;
  readonly areas?: readonly Area[] | undefined;
  readonly olderThanMs?: number | undefined;
  /** Emergencies and calls for evacuation. */
  readonly alerts?: boolean | undefined;
  /** Data packages and missions. */
  readonly packages?: boolean | undefined;
}

/** `at`: where it stands in the configuration, for words. */
export type Rule =
  | {
      readonly action: 'allow' | 'deny';
      readonly at: string;
      readonly match: Match;
      /** Decides about what does not match, and about what cannot be told. */
      readonly unless?: boolean | undefined;
      /** Says nothing of data packages and missions: they have switches of their own. */
      readonly eventsOnly?: boolean | undefined;
      /** An exception: it does not make the list one of what is allowed. */
      readonly aside?: boolean | undefined;
    }
  | { readonly action: 'thin'; readonly at: string; readonly match: Match; readonly everyMs: number }
  | { readonly action: 'rename'; readonly at: string; readonly from: string; readonly to: string };

export interface Verdict {
  readonly crosses: boolean;
  /** The rule that decided; '' when none did. */
  readonly at: string;
  /** Least time between two positions of its unit; 0: none. */
  readonly thinMs: number;
}

/** What is asked about. */
export interface Subject {
  readonly message: Message;
  readonly groups: readonly string[];
  /** By its own time, milliseconds. */
  readonly ageMs: number;
  /** Of a contact: what it last reported itself, where that is known to be allowed to cross. */
  readonly reported?: CotEvent | undefined;
}

/** Kinds of message that are told apart without knowing the rest of the relay's policy. */
export interface Kinds {
  isAlert(event: CotEvent): boolean;
  isUnit(event: CotEvent): boolean;
}

const NO = 0;
const YES = 1;
const UNKNOWN = 2;
type Answer = typeof NO | typeof YES | typeof UNKNOWN;
type Question = (subject: Subject) => Answer;
type Step = { readonly rule: Rule; readonly asks: Question };

/** Types of all units begin with this. */
const UNITS = 'a-';

export class Filter {
  readonly #steps: readonly Step[];
  readonly #otherwise: boolean;
  readonly #renames: readonly Extract<Rule, { action: 'rename' }>[];
  /** Some rule thins. */
  readonly thins: boolean;

  constructor(rules: readonly Rule[], kinds: Kinds) {
    this.#steps = rules.map((rule) => ({ rule, asks: rule.action === 'rename' ? () => YES : all(rule.match, kinds) }));
    this.#otherwise = !rules.some((rule) => rule.action === 'allow' && !rule.aside);
    this.#renames = rules.filter((rule) => rule.action === 'rename');
    this.thins = rules.some(({ action }) => action === 'thin');
  }

  judge(asked: Subject): Verdict {
    const packaged = isPackage(asked.message);
    let subject = asked;
    let thinMs = 0;
    for (const { rule, asks } of this.#steps) {
      if (rule.action === 'rename') {
        if (subject.groups.includes(rule.from)) subject = { ...subject, groups: renamed(subject.groups, rule) };
      } else if (rule.action === 'thin') {
        if (asks(subject) === YES) thinMs = Math.max(thinMs, rule.everyMs);
      } else if (!(packaged && rule.eventsOnly) && decides(rule, asks(subject))) {
        return { crosses: rule.action === 'allow', at: rule.at, thinMs };
      }
    }
    return { crosses: this.#otherwise, at: '', thinMs };
  }

  /** The groups by their new names, whichever rule decides. The same array when none has one. */
  rename(groups: readonly string[]): readonly string[] {
    return groups.length === 0 ? groups : this.#renames.reduce(renamed, groups);
  }
}

function decides(
  { action, unless }: Extract<Rule, { match: Match; action: 'allow' | 'deny' }>,
  answer: Answer,
): boolean {
  if (action === 'allow') return unless ? answer === NO : answer === YES;
  return unless ? answer !== YES : answer !== NO;
}

function renamed(groups: readonly string[], { from, to }: { from: string; to: string }): readonly string[] {
  if (!groups.includes(from)) return groups;
  return [...new Set(groups.map((group) => (group === from ? to : group)))];
}

// --- questions -------------------------------------------------------------------------------------------------------

function all(match: Match, kinds: Kinds): Question {
  const asked = questions(match, kinds);
  return (subject) => {
    let answer: Answer = YES;
    for (const ask of asked) {
      const one = ask(subject);
      if (one === NO) return NO;
      if (one === UNKNOWN) answer = UNKNOWN;
    }
    return answer;
  };
}

function questions(match: Match, { isAlert, isUnit }: Kinds): Question[] {
  const { types, callsigns, uids, teams, groups, feeds, areas, olderThanMs, alerts, packages } = match;
  const asked: Question[] = [];
  if (packages !== undefined) asked.push((subject) => answer(isPackage(subject.message) === packages));
  if (types) asked.push(aboutTypes(types));
  if (callsigns) asked.push(aboutNames(callsigns, callsignOf));
  if (uids) asked.push(aboutNames(uids, uidOf));
  if (feeds) asked.push(aboutNames(feeds, feedOf));
  if (teams) {
    const known = new Set(teams);
    asked.push(ofEvent((event) => (event.team === '' && !isUnit(event) ? UNKNOWN : answer(known.has(event.team)))));
  }
  if (groups) {
    const known = new Set(groups);
    asked.push((subject) => answer(subject.groups.some((group) => known.has(group))));
  }
  if (areas) {
    const within = areas.map(inside);
    asked.push(ofEvent((event) => (isNowhere(event) ? UNKNOWN : answer(within.some((is) => is(event))))));
  }
  if (olderThanMs !== undefined) {
    asked.push(({ message, ageMs }) =>
      isPackage(message) ? UNKNOWN : answer(message.kind === 'event' && ageMs > olderThanMs),
    );
  }
  if (alerts !== undefined) {
    asked.push(({ message }) => {
      if (isPackage(message)) return UNKNOWN;
      return answer((message.kind === 'event' && isAlert(message.event)) === alerts);
    });
  }
  return asked;
}

function answer(is: boolean): Answer {
  return is ? YES : NO;
}

function isPackage({ kind }: Message): boolean {
  return kind === 'mission' || kind === 'blob';
}

/** Many events have no place and say so by zeros: an island that nobody is on. */
function isNowhere({ lat, lon }: CotEvent): boolean {
  return lat === 0 && lon === 0;
}

/** Asked of an event; of a contact, of what it reported itself. */
function ofEvent(ask: (event: CotEvent) => Answer): Question {
  return ({ message, reported }) => {
    const event = message.kind === 'event' ? message.event : reported;
    return event ? ask(event) : UNKNOWN;
  };
}

function aboutTypes(prefixes: readonly string[]): Question {
  const known = new Map<string, Answer>();
  const ask = (type: string) => answer(prefixes.some((prefix) => type.startsWith(prefix)));
  const allUnits = prefixes.some((prefix) => UNITS.startsWith(prefix));
  const someUnits = prefixes.some((prefix) => prefix.startsWith(UNITS));
  const ofAnyUnit = allUnits ? YES : someUnits ? UNKNOWN : NO;
  return ({ message, reported }) => {
    if (message.kind === 'event') return remembered(known, message.event.type, ask);
    if (message.kind !== 'contact') return UNKNOWN;
    const type = reported?.type ?? message.unitType;
    return type === undefined ? ofAnyUnit : ask(type);
  };
}

/** Answers are remembered for so many names: few come up over and over. */
const MAX_REMEMBERED = 512;

function remembered(known: Map<string, Answer>, name: string, ask: (name: string) => Answer): Answer {
  const before = known.get(name);
  if (before !== undefined) return before;
  if (known.size >= MAX_REMEMBERED) known.clear();
  const now = ask(name);
  known.set(name, now);
  return now;
}

/** `nameOf`: undefined where it cannot be told, '' where there is none. */
function aboutNames(patterns: readonly string[], nameOf: (message: Message) => string | undefined): Question {
  const known = new Map<string, Answer>();
  const ask = (name: string) => answer(name !== '' && patterns.some((pattern) => fits(pattern, name)));
  return ({ message }) => {
    const name = nameOf(message);
    return name === undefined ? UNKNOWN : remembered(known, name, ask);
  };
}

/** No regular expression: names come from strangers, and with several `*` one could be made to take for ever. */
export function fits(pattern: string, name: string): boolean {
  let [at, in_] = [0, 0];
  // Where the last `*` stands, and up to where the name was taken by it.
  let [star, taken] = [-1, 0];
  while (in_ < name.length) {
    if (pattern[at] === '*') {
      star = at++;
      taken = in_;
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[in_])) {
      at++;
      in_++;
    } else if (star >= 0) {
      at = star + 1;
      in_ = ++taken;
    } else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}

function callsignOf(message: Message): string | undefined {
  if (message.kind === 'contact') return message.contact.callsign;
  if (message.kind !== 'event') return undefined;
  // An event that names nobody may be anybody's.
  return message.event.callsign || message.event.sender || undefined;
}

function uidOf(message: Message): string | undefined {
  if (message.kind === 'contact') return message.contact.uid;
  return message.kind === 'event' ? message.event.uid : undefined;
}

function feedOf(message: Message): string | undefined {
  if (message.kind === 'contact') return '';
  return message.kind === 'event' ? message.event.feedUid : undefined;
}

// --- thinning --------------------------------------------------------------------------------------------------------

/** Units whose last passing is remembered. */
const MAX_THINNED = 10_000;

/** Lets a position of each unit pass now and then. */
export class Thinner {
  readonly #passedMs = new Map<string, number>();

  /** True: it may pass, and the next not before `everyMs` are over. */
  passes(uid: string, everyMs: number, nowMs: number): boolean {
    const before = this.#passedMs.get(uid);
    if (before !== undefined && nowMs - before < everyMs) return false;
    this.#passedMs.delete(uid);
    this.#passedMs.set(uid, nowMs);
    if (this.#passedMs.size > MAX_THINNED) this.#passedMs.delete(this.#passedMs.keys().next().value!);
    return true;
  }

  forget(): void {
    this.#passedMs.clear();
  }
}
