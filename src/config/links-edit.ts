// Changes to `links:` and single settings, as edits of the file: which entry is meant, what a merge patch says about it.
import type { Edit, EditPath } from './edit.ts';
import { textValue } from './edit.ts';
import { printable } from './problem.ts';
import { ConfigRefused } from './refused.ts';

/** A section of the file as plain values, such as one entry of `links`. */
export type Section = Readonly<Record<string, unknown>>;

/** Entries of `links` as written. @throws ConfigRefused */
export function linksOf(text: string): readonly Section[] {
  const { links } = textValue(text) as { links?: unknown };
  return Array.isArray(links) ? links.filter((link): link is Section => typeof link === 'object' && link !== null) : [];
}

/** @throws ConfigRefused `unknown_link` */
export function linkIndex(text: string, name: string): number {
  const links = (textValue(text) as { links?: unknown }).links;
  const index = Array.isArray(links) ? links.findIndex((link) => (link as Section | null)?.name === name) : -1;
  if (index >= 0) return index;
  const names = linksOf(text).map((link) => printable(String(link.name)));
  const words = `there is no link ${JSON.stringify(printable(name))}`;
  throw new ConfigRefused('unknown_link', words, names.length > 0 ? `there is ${names.join(', ')}` : 'add one first');
}

/** @throws ConfigRefused `link_exists` */
export function addLink(text: string, link: Section): Edit[] {
  if (linksOf(text).some(({ name }) => name === link.name)) {
    const words = `there is a link ${JSON.stringify(printable(String(link.name)))} already`;
    throw new ConfigRefused('link_exists', words, 'give the new one another name, or change the one there is');
  }
  return [{ op: 'add', path: ['links'], value: link }];
}

/** JSON merge patch (RFC 7396): what is named is set, null takes it away, lists are replaced whole. */
export function patchLink(text: string, name: string, patch: Section): Edit[] {
  const index = linkIndex(text, name);
  const link = (textValue(text) as { links: readonly Section[] }).links[index]!;
  return mergeEdits(['links', index], link, patch);
}

export function removeLink(text: string, name: string): Edit[] {
  return [{ op: 'delete', path: ['links', linkIndex(text, name)] }];
}

function mergeEdits(path: EditPath, value: unknown, patch: Section): Edit[] {
  const section = isSection(value) ? value : undefined;
  if (!section) return [{ op: 'set', path, value: withoutNulls(patch) }];
  return Object.entries(patch).flatMap(([key, wanted]): Edit[] => {
    const at = [...path, key];
    if (wanted === null) return key in section ? [{ op: 'delete', path: at }] : [];
    if (isSection(wanted)) return mergeEdits(at, section[key], wanted);
    return [{ op: 'set', path: at, value: wanted }];
  });
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withoutNulls(patch: Section): Section {
  const kept = Object.entries(patch).filter(([, value]) => value !== null);
  return Object.fromEntries(kept.map(([key, value]) => [key, isSection(value) ? withoutNulls(value) : value]));
}

/**
 * `links.hq.policy.in`, `log.level`, `trust.0`: names with dots between; a link by its name or number.
 * @throws ConfigRefused for a link that is not there
 */
export function settingPath(text: string, path: string): EditPath {
  const parts = path.split('.');
  if (parts[0] === 'links' && parts.length > 1 && !/^\d+$/.test(parts[1]!)) {
    const rest = parts.slice(1).join('.');
    const names = linksOf(text).map(({ name }) => String(name));
    // Names may hold dots: the longest that fits.
    const fitting = names.filter((name) => rest === name || rest.startsWith(`${name}.`));
    const name = fitting.sort((a, b) => b.length - a.length)[0] ?? parts[1]!;
    const below = rest.slice(name.length + 1);
    return ['links', linkIndex(text, name), ...(below === '' ? [] : keys(below.split('.')))];
  }
  return keys(parts);
}

function keys(parts: readonly string[]): EditPath {
  return parts.map((part) => (/^\d{1,4}$/.test(part) ? Number(part) : part));
}

/** What stands at a path. Undefined: nothing does. */
export function settingAt(text: string, path: EditPath): unknown {
  return path.reduce<unknown>(
    (at, key) => (at as Record<string | number, unknown> | null | undefined)?.[key],
    textValue(text),
  );
}
