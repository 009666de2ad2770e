// The text format that Prometheus reads (version 0.0.4): families of samples, label values escaped.

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string>>;
/** Characters that are escaped. */
const ODD = /["\\\n]/;
type Type = 'counter' | 'gauge' | 'histogram';

/** A label value longer than this is cut: some come from outside. */
const MAX_VALUE_CHARS = 128;

export class Exposition {
  readonly #parts: string[] = [];

  /** One family. `samples` are its label sets and values; what has no value is left out, and so is a family without samples. */
  family(
    type: Type,
    name: string,
    help: string,
    samples: Iterable<readonly [Labels, number | null | undefined]>,
  ): void {
    const lines: string[] = [];
    for (const [labels, value] of samples) {
      if (value !== null && value !== undefined) lines.push(`${name}${labelSet(labels)} ${numberText(value)}\n`);
    }
    if (lines.length > 0) this.#parts.push(head(type, name, help), ...lines);
  }

  /** A histogram family. Counts are not cumulative, one more than bounds; bounds and sum in seconds. */
  histograms(name: string, help: string, all: Iterable<readonly [Labels, HistogramSample]>): void {
    this.#parts.push(head('histogram', name, help));
    for (const [labels, { bounds, counts, sum }] of all) {
      let total = 0;
      for (const [index, count] of counts.entries()) {
        total += count;
        const le = index < bounds.length ? numberText(bounds[index]!) : '+Inf';
        this.#parts.push(`${name}_bucket${labelSet({ ...labels, le })} ${total}\n`);
      }
      this.#parts.push(`${name}_sum${labelSet(labels)} ${numberText(sum)}\n`);
      this.#parts.push(`${name}_count${labelSet(labels)} ${total}\n`);
    }
  }

  text(): string {
    return this.#parts.join('');
  }
}

export interface HistogramSample {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

function head(type: Type, name: string, help: string): string {
  return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`;
}

/** An empty value is the same to Prometheus as no label. */
function labelSet(labels: Labels): string {
  let text = '';
  for (const name in labels) {
    const value = labels[name]!;
    if (value !== '') text += `${text === '' ? '{' : ','}${name}="${escaped(value)}"`;
  }
  return text === '' ? '' : `${text}}`;
}

/** Half of a character (a lone surrogate) is no UTF-8, and Prometheus would refuse the whole answer for it. */
function escaped(value: string): string {
  const cut = value.length > MAX_VALUE_CHARS ? value.slice(0, MAX_VALUE_CHARS) : value;
  const text = cut.isWellFormed() ? cut : cut.toWellFormed();
  return ODD.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : text;
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
