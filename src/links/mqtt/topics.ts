// Topic templates: what an event's topic is made of, and that nothing in an event can choose another topic.
import { MAX_TOPIC_BYTES } from './limits.ts';

/** What may stand in braces. */
export interface TopicParts {
  readonly uid: string;
  readonly type: string;
  /** Id of this relay. */
  readonly node: string;
}

const PLACES = ['uid', 'type', 'type/', 'node'] as const;
const PLACE = /\{([^{}]*)\}/g;
/** Of one part; the whole stays well below what brokers take. */
const MAX_PART_CHARS = 300;

/** Why the template is none; undefined when it is good. */
export function templateTrouble(template: string): string | undefined {
  for (const [, place] of template.matchAll(PLACE)) {
    if (!(PLACES as readonly string[]).includes(place!))
      return `{${place}} is not known; there are {uid}, {type}, {type/} and {node}`;
  }
  const plain = template.replace(PLACE, 'x');
  if (/[{}]/.test(plain)) return 'a brace is not closed';
  if (/[+#]/.test(plain)) return 'what is published needs a topic, without + and #';
  return topicTrouble(plain);
}

/** Why the filter is none (MQTT 5 §4.7). */
export function filterTrouble(filter: string): string | undefined {
  if (filter.startsWith('$share/')) return 'name the group with share, and the topic alone here';
  const levels = filter.split('/');
  const bad = levels.some((level, index) => {
    if (level === '#') return index < levels.length - 1;
    return level !== '+' && /[+#]/.test(level);
  });
  return bad ? '+ stands for one whole level, # for all at the end' : topicTrouble(filter);
}

/** Why it is no topic, or filter, of ours. */
export function topicTrouble(topic: string): string | undefined {
  if (topic.length === 0 || Buffer.byteLength(topic) > MAX_TOPIC_BYTES)
    return `a topic has 1 to ${MAX_TOPIC_BYTES} bytes`;
  if (topic.startsWith('$')) return 'topics that begin with $ are the broker’s own';
  return /\p{C}/u.test(topic) ? 'a topic has no control characters' : undefined;
}

/** Whether an event may get a topic that the filter lets in. Rather yes than no: a placeholder may be anything. */
export function mayMatch(template: string, filter: string): boolean {
  const topic = template.replaceAll('{type/}', '{}').split('/');
  const levels = filter.split('/');
  for (const [index, level] of levels.entries()) {
    const own = topic[index];
    if (level === '#' || own?.includes('{}')) return true;
    if (own === undefined || (level !== '+' && own !== level && !own.includes('{'))) return false;
  }
  return topic.length === levels.length;
}

/** `{type/}` makes a level of every part of the type: a/f/G/U/C, so that + and # can choose. */
export function topicOf(template: string, { uid, type, node }: TopicParts): string {
  return template.replace(PLACE, (_, place: string) => {
    if (place === 'uid') return part(uid);
    if (place === 'node') return part(node);
    return place === 'type' ? part(type) : type.split('-').map(part).join('/');
  });
}

/** What would make a level, a wildcard or a broker's own topic is escaped, as in a URL. */
function part(value: string): string {
  const safe = value.slice(0, MAX_PART_CHARS).toWellFormed();
  return safe.replace(/[/+#%\p{C}]|^\$/gu, (bad) => Array.from(Buffer.from(bad), (byte) => `%${hex(byte)}`).join(''));
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}
