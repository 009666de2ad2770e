// Where the parts of an event lie in its bytes, for code that changes or carries over a part and leaves the rest alone.
import type { ElementVisitor, StartTag } from './xml.ts';
import { attributesAt, XmlWalker } from './xml-walk.ts';

/** An element's place in the buffer it was found in. */
export interface Element {
  readonly name: string;
  /** Decoded attributes, in document order. */
  readonly attributes: ReadonlyMap<string, string>;
  /** `<` of the start tag. */
  readonly start: number;
  /** Behind the start tag. */
  readonly tagEnd: number;
  /** `<` of the end tag; as `tagEnd` for `<element/>`. */
  closeStart: number;
  /** Behind the element. */
  end: number;
  /** Written as `<element/>`. */
  readonly empty: boolean;
}

export interface Outline {
  readonly event: Element | undefined;
  readonly detail: Element | undefined;
  /** Those children of <detail> that were asked for, in document order. */
  readonly children: readonly Element[];
}

const walker = new XmlWalker();

/** Finds the event, its detail and the detail's children of the given names. `xml` is an event and nothing else. */
export function outlineEvent(xml: Buffer, childNames: readonly string[]): Outline {
  const outliner = new Outliner(xml, childNames);
  walker.walkElement(xml, 0, xml.length, outliner);
  return outliner;
}

/** The same for the content of a <detail>; there is no event and no detail then. */
export function outlineContent(content: Buffer, childNames: readonly string[]): Outline {
  const outliner = new Outliner(content, childNames);
  outliner.inDetail = true;
  walker.walkContent(content, 0, content.length, outliner, 2);
  return outliner;
}

/** Most elements are found for their place alone: attributes are read when somebody asks. */
class FoundElement implements Element {
  readonly name: string;
  readonly start: number;
  readonly tagEnd: number;
  closeStart: number;
  end: number;
  readonly empty: boolean;
  readonly #source: Buffer;
  readonly #spans: Int32Array;
  #attributes: ReadonlyMap<string, string> | undefined;

  constructor(name: string, source: Buffer, spans: Int32Array, start: number, tagEnd: number, empty: boolean) {
    this.name = name;
    this.start = start;
    this.tagEnd = tagEnd;
    this.closeStart = tagEnd;
    this.end = tagEnd;
    this.empty = empty;
    this.#source = source;
    this.#spans = spans;
  }

  get attributes(): ReadonlyMap<string, string> {
    this.#attributes ??= attributesAt(this.#source, this.#spans);
    return this.#attributes;
  }
}

class Outliner implements ElementVisitor, Outline {
  event: FoundElement | undefined;
  detail: FoundElement | undefined;
  readonly children: FoundElement[] = [];
  inDetail = false;
  readonly #source: Buffer;
  readonly #childNames: readonly string[];
  /** What to call the tag at hand; undefined when it is of no interest. */
  #name: string | undefined;
  /** The child that is open. */
  #child: FoundElement | undefined;

  constructor(source: Buffer, childNames: readonly string[]) {
    this.#source = source;
    this.#childNames = childNames;
  }

  open(tag: StartTag, depth: number): void {
    this.#name = undefined;
    if (depth === 0) this.#name = 'event';
    else if (depth === 1) {
      this.inDetail = tag.is('detail');
      if (this.inDetail) this.#name = 'detail';
    } else if (depth === 2 && this.inDetail) this.#name = this.#childNames.find((name) => tag.is(name));
  }

  tag(start: number, end: number, empty: boolean, depth: number): void {
    if (this.#name === undefined) return;
    const element = new FoundElement(this.#name, this.#source, walker.spans(), start, end, empty);
    if (depth === 0) this.event = element;
    else if (depth === 1) this.detail = element;
    else {
      this.children.push(element);
      this.#child = empty ? undefined : element;
    }
  }

  close(start: number, end: number, depth: number): void {
    const element = this.#openAt(depth);
    if (!element) return;
    element.closeStart = start;
    element.end = end;
    if (depth === 2) this.#child = undefined;
  }

  #openAt(depth: number): FoundElement | undefined {
    if (depth === 0) return this.event;
    if (depth === 1) return this.inDetail ? this.detail : undefined;
    return depth === 2 ? this.#child : undefined;
  }
}
