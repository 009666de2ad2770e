// What a benchmark hands back, and how it is shown.

/** One line of a table. Numbers are figures; a column's name carries its unit. */
export type Row = Readonly<Record<string, string | number>>;

export interface Result {
  readonly bench: string;
  /** What was done, in a sentence: what the figures mean. */
  readonly what: string;
  readonly rows: readonly Row[];
  /** What could not be measured here, and why. */
  readonly skipped: readonly string[];
}

/** The last thing a benchmark does: hands its result to main.ts. */
export function report(result: Result): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

export function table(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? '')))];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]!.length)));
  const right = columns.map((column) => rows.some((row) => typeof row[column] === 'number'));
  const pad = (text: string, index: number) =>
    right[index] ? text.padStart(widths[index]!) : text.padEnd(widths[index]!);
  return cells.map((line) => `  ${line.map(pad).join('  ').trimEnd()}`).join('\n');
}

/** `digits` significant figures: what a measurement on a shared machine is worth at most. */
export function round(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
