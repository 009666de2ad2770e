// YAML in, plain values out, with the line of everything. Written for a hostile file: size, tokens, depth and aliases are
// bounded before anything that could take long; tags and directives are refused; the same key twice is a mistake.
import {
  type Document,
  type DocumentOptions,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type ParseOptions,
  parseDocument,
  type SchemaOptions,
} from 'yaml';
import { formatPath, type Path, type Problem, printable, tidy } from './problem.ts';

export const MAX_BYTES = 1024 * 1024;
/** Lexer tokens, about six a line. Bounds the parser's time: a megabyte of `[` would take seconds. */
export const MAX_TOKENS = 100_000;
export const MAX_DEPTH = 16;
/** Aliases in the file, and (yaml's own guard against alias bombs) the most an alias may unfold to. */
export const MAX_ALIASES = 32;
/** Longest message of the parser's own, characters. */
const MAX_MESSAGE = 160;

const OPTIONS: ParseOptions & DocumentOptions & SchemaOptions = {
  schema: 'core',
  merge: false,
  customTags: [],
  resolveKnownTags: false,
  uniqueKeys: false, // quadratic; inspect() does it with a map
  prettyErrors: false,
  logLevel: 'error',
};

/** Where something is in the file; both from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export class YamlFile {
  readonly doc: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(doc: Document.Parsed, lines: LineCounter) {
    this.doc = doc;
    this.#lines = lines;
  }

  /** Place of an offset into the text. */
  placeAt(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  /**
   * Place of the value at `path`, or of its key; of the nearest thing around it when it is not written in the file.
   * Does not look through aliases.
   */
  placeOf(path: Path, what: 'key' | 'value' = 'value'): Place {
    let node: unknown = this.doc.contents;
    let offset = startOf(node) ?? 0;
    for (const [depth, key] of path.entries()) {
      const next = childOf(node, key);
      if (!next) break;
      const wantKey = what === 'key' && depth === path.length - 1;
      offset = (wantKey ? startOf(next.key) : startOf(next.value)) ?? startOf(next.key) ?? offset;
      node = next.value;
    }
    return this.placeAt(offset);
  }
}

/** Reads the text. `problems` are those that still let the values be looked at (keys written twice). */
export function readYaml(
  text: string,
): { readonly file: YamlFile; readonly problems: readonly Problem[] } | { readonly refused: readonly Problem[] } {
  const clean = text.startsWith('\ufeff') ? text.slice(1) : text;
  const tooMuch = tooLarge(clean);
  if (tooMuch) return { refused: [{ path: '', line: 1, column: 1, words: tooMuch }] };
  const lines = new LineCounter();
  const doc = parseDocument(clean, { ...OPTIONS, lineCounter: lines });
  const file = new YamlFile(doc, lines);
  if (doc.errors.length > 0) {
    const problem = (error: (typeof doc.errors)[number]): Problem => ({
      path: '',
      ...file.placeAt(error.pos[0]),
      words: syntaxWords(error.code, error.message),
    });
    return { refused: tidy(firstOfLine(doc.errors.map(problem))) };
  }
  const inspector = new Inspector(file);
  if (doc.directives?.docStart && doc.directives.yaml.explicit)
    inspector.refuse(0, 'YAML directives are not supported');
  inspector.inspect(doc.contents, []);
  if (inspector.refused.length > 0) return { refused: tidy(inspector.refused) };
  return { file, problems: inspector.problems };
}

/** The document as plain values. Undefined when its aliases would unfold to too much. */
export function plainValue(doc: Document): { readonly value: unknown } | undefined {
  try {
    return { value: doc.toJS({ maxAliasCount: MAX_ALIASES }) };
  } catch (error) {
    if (error instanceof ReferenceError) return undefined; // how yaml says that aliases unfold to too much
    throw error;
  }
}

function tooLarge(text: string): string {
  if (text.length > MAX_BYTES || Buffer.byteLength(text) > MAX_BYTES) return `larger than ${MAX_BYTES} bytes`;
  let tokens = 0;
  for (const _ of new Lexer().lex(text)) {
    if (++tokens > MAX_TOKENS) return `more than ${MAX_TOKENS} words and signs: too much for a configuration`;
  }
  return '';
}

function syntaxWords(code: string, message: string): string {
  if (code === 'TAB_AS_INDENT') return 'a tab cannot indent in YAML, use spaces';
  if (code === 'RESOURCE_EXHAUSTION') return 'nested too deeply';
  if (code === 'MULTIPLE_DOCS') return 'more than one document (a line of ---) in one file';
  return printable(message.charAt(0).toLowerCase() + message.slice(1), MAX_MESSAGE);
}

/** One mistake makes the parser stumble several times on the same line. */
function firstOfLine(problems: readonly Problem[]): Problem[] {
  const lines = new Set<number>();
  return problems.filter(({ line }) => !lines.has(line) && lines.add(line));
}

/** Walks the nodes once: refuses what we do not want to understand, notes keys written twice. */
class Inspector {
  readonly refused: Problem[] = [];
  readonly problems: Problem[] = [];
  readonly #file: YamlFile;
  readonly #anchors = new Set<string>();
  #aliases = 0;

  constructor(file: YamlFile) {
    this.#file = file;
  }

  refuse(offset: number, words: string, path: Path = []): void {
    this.refused.push({ path: formatPath(path), ...this.#file.placeAt(offset), words });
  }

  inspect(node: unknown, path: Path): void {
    const offset = startOf(node) ?? 0;
    if (path.length > MAX_DEPTH) return this.refuse(offset, 'nested too deeply', path);
    if (isAlias(node)) return this.#inspectAlias(node.source, offset, path);
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.tag) {
      return this.refuse(offset, `tags such as ${printable(node.tag)} are not supported`, path);
    }
    if (isMap(node)) this.#inspectMap(node.items, path);
    else if (isSeq(node)) for (const [index, item] of node.items.entries()) this.inspect(item, [...path, index]);
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor) this.#anchors.add(node.anchor);
  }

  /** An anchor counts from its end: an alias inside it would never end. */
  #inspectAlias(name: string, offset: number, path: Path): void {
    if (++this.#aliases > MAX_ALIASES) return this.refuse(offset, `more than ${MAX_ALIASES} aliases`, path);
    if (!this.#anchors.has(name)) this.refuse(offset, `no anchor &${printable(name)} before this alias`, path);
  }

  #inspectMap(pairs: readonly unknown[], path: Path): void {
    const offsets = new Map<string, number>();
    for (const pair of pairs) {
      if (!isPair(pair)) continue;
      const offset = startOf(pair.key) ?? 0;
      if (!isScalar(pair.key) || pair.key.tag) {
        this.refuse(offset, 'a key must be plain text', path);
        continue;
      }
      const key = String(pair.key.value);
      const first = offsets.get(key);
      if (first === undefined) offsets.set(key, offset);
      else this.#twice([...path, key], offset, first);
      this.inspect(pair.value, [...path, key]);
    }
  }

  #twice(path: Path, offset: number, first: number): void {
    const words = `written twice, first on line ${this.#file.placeAt(first).line}`;
    this.problems.push({ path: formatPath(path), ...this.#file.placeAt(offset), words });
  }
}

function startOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}

function childOf(node: unknown, key: PropertyKey): { readonly key: unknown; readonly value: unknown } | undefined {
  if (isSeq(node) && typeof key === 'number' && key < node.items.length) {
    return { key: node.items[key], value: node.items[key] };
  }
  if (!isMap(node)) return undefined;
  return node.items.findLast((pair) => isScalar(pair.key) && String(pair.key.value) === String(key));
}
