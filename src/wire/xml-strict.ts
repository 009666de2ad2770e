// The strict twin of XmlWalker: the same visitor, driven by a full XML parser. It judges what the walker only steps over,
// and is the oracle that the walker is tested against. Several times slower.
import { SaxesParser } from 'saxes';
import { ProtocolError } from '../lib/errors.ts';
import { checkEncoding, MAX_ATTRIBUTES, MAX_DEPTH, type StartTag, type TagVisitor } from './xml.ts';

/** As XmlWalker.walkElement(). */
export function walkElementStrict(bytes: Buffer, start: number, end: number, visitor: TagVisitor, depth = 0): void {
  parse(textOf(bytes, start, end), visitor, depth, depth);
}

/** As XmlWalker.walkContent(). */
export function walkContentStrict(bytes: Buffer, start: number, end: number, visitor: TagVisitor, depth: number): void {
  parse(`<x>${textOf(bytes, start, end)}</x>`, visitor, depth - 1, depth);
}

function textOf(bytes: Buffer, start: number, end: number): string {
  const content = bytes.subarray(start, end);
  checkEncoding(content);
  return content.toString('utf8');
}

/** The root stands at depth `root`; elements from `first` down are visited. */
function parse(text: string, visitor: TagVisitor, root: number, first: number): void {
  const parser = new SaxesParser();
  let depth = root;
  parser.on('error', (error) => {
    throw new ProtocolError('bad_xml', error.message);
  });
  parser.on('doctype', () => {
    throw new ProtocolError('dtd_refused', 'document type and entity declarations are not accepted');
  });
  parser.on('opentag', (tag) => {
    if (depth === MAX_DEPTH) throw new ProtocolError('too_deep', `elements nest deeper than ${MAX_DEPTH}`);
    if (depth >= first) visitor.open(new ParsedTag(tag.name, tag.attributes), depth);
    depth++;
  });
  parser.on('closetag', () => {
    depth--;
  });
  parser.write(text).close();
}

class ParsedTag implements StartTag {
  source = Buffer.alloc(0);
  valueStart = 0;
  valueEnd = 0;
  readonly #name: string;
  readonly #attributes: ReadonlyMap<string, string>;

  constructor(name: string, attributes: Readonly<Record<string, string>>) {
    this.#name = name;
    this.#attributes = new Map(Object.entries(attributes));
    if (this.#attributes.size > MAX_ATTRIBUTES) {
      throw new ProtocolError('too_many_attributes', `more than ${MAX_ATTRIBUTES} attributes`);
    }
  }

  is(name: string): boolean {
    return this.#name === name;
  }

  get(attribute: string): string | undefined {
    return this.#attributes.get(attribute);
  }

  attributes(): ReadonlyMap<string, string> {
    return this.#attributes;
  }

  names(): string[] {
    return [...this.#attributes.keys()];
  }

  find(attribute: string): boolean {
    const value = this.#attributes.get(attribute);
    if (value === undefined) return false;
    this.source = Buffer.from(value);
    this.valueEnd = this.source.length;
    return true;
  }
}
