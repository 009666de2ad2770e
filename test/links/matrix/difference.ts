// In what two events differ, one as it was said and one as it arrived: read by a full XML parser, told as short names.
import { SaxesParser } from 'saxes';

interface Node {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Node[];
  text: string;
}

export function parse(xml: string): Node {
  const root: Node = { name: '', attributes: {}, children: [], text: '' };
  const open: Node[] = [root];
  const parser = new SaxesParser();
  parser.on('opentag', ({ name, attributes }) => {
    const node: Node = { name, attributes, children: [], text: '' };
    open.at(-1)!.children.push(node);
    open.push(node);
  });
  parser.on('closetag', () => void open.pop());
  const say = (text: string) => {
    open.at(-1)!.text += text;
  };
  parser.on('text', say);
  parser.on('cdata', say);
  parser.write(xml).close();
  return root.children[0]!;
}

/**
 * `-x`: x is missing; `+x`: x was not there; `~x`: x is another; `≈x`: x means the same and is spelt otherwise; `order`: the
 * elements of the detail stand in another order. x: `event@attribute`, `point@attribute`, `detail/element`.
 */
export function difference(said: string, arrived: string): readonly string[] {
  const [a, b] = [parse(said), parse(arrived)];
  const point = (event: Node) => event.children.find(({ name }) => name === 'point')!;
  const detail = (event: Node) => event.children.find(({ name }) => name === 'detail');
  const found = new Set([
    ...attributes('event', a.attributes, b.attributes),
    ...attributes('point', point(a).attributes, point(b).attributes),
    ...elements(detail(a)?.children ?? [], detail(b)?.children ?? []),
  ]);
  if (!detail(a) !== !detail(b)) found.add(`${detail(a) ? '-' : '+'}detail`);
  return [...found].sort();
}

type Attributes = Readonly<Record<string, string>>;

function attributes(of: string, a: Attributes, b: Attributes): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) => {
    const [before, after] = [a[name], b[name]];
    if (before === after) return [];
    if (before === undefined) return [`+${of}@${name}`];
    if (after === undefined) return [`-${of}@${name}`];
    return [`${same(before, after) ? '≈' : '~'}${of}@${name}`];
  });
}

/** The same number or the same moment. */
function same(a: string, b: string): boolean {
  if (/^\d{4}-/.test(a)) return Date.parse(a) === Date.parse(b);
  return a !== '' && b !== '' && Object.is(Number(a), Number(b));
}

function elements(a: readonly Node[], b: readonly Node[]): string[] {
  const [before, after] = [a.map(canonical), b.map(canonical)];
  if (before.join('\n') === after.join('\n')) return [];
  const rest = [...b];
  const missing = a.filter((node) => {
    const at = rest.findIndex((other) => canonical(other) === canonical(node));
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
  if (missing.length === 0 && rest.length === 0) return ['order'];
  const found = missing.flatMap((node) => {
    const at = rest.findIndex(({ name }) => name === node.name);
    if (at < 0) return [`-detail/${node.name}`];
    const [other] = rest.splice(at, 1);
    return changed(node, other!);
  });
  // Whether what is left stands in the same order: by name, since values were told of already.
  const names = (nodes: readonly Node[], but: readonly Node[]) =>
    nodes.flatMap((node) => (but.includes(node) ? [] : [node.name])).join();
  const gone = missing.filter((node) => found.includes(`-detail/${node.name}`));
  if (names(a, gone) !== names(b, rest)) found.push('order');
  return [...found, ...rest.map(({ name }) => `+detail/${name}`)];
}

function changed(a: Node, b: Node): string[] {
  const inside = canonical({ ...a, attributes: {} }) !== canonical({ ...b, attributes: {} });
  return [...attributes(`detail/${a.name}`, a.attributes, b.attributes), ...(inside ? [`~detail/${a.name}`] : [])];
}

function canonical(node: Node): string {
  const sorted = Object.entries(node.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([node.name, sorted, node.text, node.children.map(canonical)]);
}
