// Changes single values of a configuration file and leaves the rest as its owner wrote it: comments, order, blank lines. What
// comes out is read again and must say exactly what was asked for, or nothing is changed.
import { isDeepStrictEqual } from 'node:util';
import { applyPatch, structuredPatch } from 'diff';
import { type Document, isCollection, isNode, isScalar, parse, stringify, type ToStringOptions, YAMLSeq } from 'yaml';
import { ConfigRefused } from './refused.ts';
import { plainValue, readYaml } from './yaml.ts';

export type EditPath = readonly (string | number)[];

/** `add` puts a value at the end of a list, which is made when it is not there. `set` makes sections that are not there. */
export type Edit =
  | { readonly op: 'set'; readonly path: EditPath; readonly value: unknown }
  | { readonly op: 'add'; readonly path: EditPath; readonly value: unknown }
  | { readonly op: 'delete'; readonly path: EditPath };

const BY_HAND = 'change it in the file itself, then "waystation config reload"';

/** @throws ConfigRefused when the file cannot be read, or is written in a way this cannot change */
export function editYaml(text: string, edits: readonly Edit[]): string {
  const doc = open(text);
  const before = print(doc, text);
  const wanted = edits.reduce(applied, plainOf(doc));
  try {
    for (const edit of edits) change(doc, edit);
  } catch (error) {
    throw new ConfigRefused('edit_by_hand', `the file cannot be changed from here: ${wordsOf(error)}`, BY_HAND);
  }
  const after = print(doc, text);
  const patched = before === text ? after : patch(text, before, after);
  for (const result of [patched, after]) if (result !== undefined && says(result, wanted)) return result;
  throw new ConfigRefused(
    'edit_by_hand',
    'what is to change is shared with other parts of the file (&anchors)',
    BY_HAND,
  );
}

/** A value as a person types it. Undefined: it is no YAML. */
export function typedValue(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** A value as YAML, for people to edit. */
export function valueText(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}

/** The whole file as plain values. @throws ConfigRefused */
export function textValue(text: string): unknown {
  return plainOf(open(text));
}

function open(text: string): Document {
  const read = readYaml(text);
  if (!('refused' in read)) return read.file.doc;
  const [first] = read.refused;
  throw new ConfigRefused(
    'config_bad',
    `the file cannot be read: line ${first?.line}: ${first?.words}`,
    BY_HAND,
    read.refused,
  );
}

function plainOf(doc: Document): unknown {
  return plainValue(doc)?.value ?? {};
}

function says(text: string, wanted: unknown): boolean {
  const read = readYaml(text);
  return !('refused' in read) && isDeepStrictEqual(plainOf(read.file.doc), wanted);
}

/** Printed in the manner of the file, as far as there is one. */
function print(doc: Document, text: string): string {
  const options: ToStringOptions = {
    lineWidth: 0,
    indentSeq: !/^([ \t]*)[\w-]+:[ \t]*\n\1- /m.test(text),
    flowCollectionPadding: !/[[{]\S[^\n]*[\]}]/.test(text) || /\{ /.test(text),
  };
  return doc.toString(options);
}

/** The same change to the text as it was written. Undefined: it does not fit. */
function patch(text: string, before: string, after: string): string | undefined {
  const change = structuredPatch('', '', before, after, '', '', { context: 2 });
  return applyPatch(text, change, { fuzzFactor: 2 }) || undefined;
}

function change(doc: Document, edit: Edit): void {
  if (edit.op === 'delete') {
    if (!doc.deleteIn(edit.path)) throw new Error(`there is no ${edit.path.join('.')}`);
    return;
  }
  if (edit.op === 'set') return put(doc, edit.path, edit.value);
  const list = doc.getIn(edit.path, true);
  if (list instanceof YAMLSeq) list.add(doc.createNode(edit.value));
  else if (list === undefined || (isScalar(list) && list.value === null)) put(doc, edit.path, [edit.value]);
  else throw new Error(`${edit.path.join('.')} is no list`);
}

/** In place of what is there, with the comments that belong to it. */
function put(doc: Document, path: EditPath, value: unknown): void {
  const old = doc.getIn(path, true);
  if (isScalar(old) && !isObject(value)) {
    old.value = value;
    return;
  }
  const node = doc.createNode(value);
  if (isNode(old)) {
    node.commentBefore = old.commentBefore ?? null;
    if (old.spaceBefore !== undefined) node.spaceBefore = old.spaceBefore;
    // Below an empty section stand the examples of what it could hold.
    if (old.comment) node.comment = old.comment;
    if (isCollection(old) && isCollection(node) && old.flow) node.flow = true;
  }
  doc.setIn(path, node);
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

/** The same edit on plain values; shares nothing with what it was given. */
function applied(value: unknown, edit: Edit): unknown {
  // By way of text: an alias and its anchor are one and the same object.
  const root = JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
  const [last, ...above] = [...edit.path].reverse();
  let at: Record<string | number, unknown> = root;
  for (const key of above.reverse()) {
    if (!isObject(at[key])) at[key] = {};
    at = at[key] as Record<string | number, unknown>;
  }
  if (edit.op === 'set') at[last!] = edit.value;
  else if (edit.op === 'add') at[last!] = [...((at[last!] as unknown[] | null | undefined) ?? []), edit.value];
  else if (Array.isArray(at)) at.splice(Number(last), 1);
  else delete at[last!];
  return root;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 200) : String(error);
}
