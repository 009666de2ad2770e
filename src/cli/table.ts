// Columns for the terminal. Cells may come from anywhere, so they are made harmless to it.
import { printable } from '../config/problem.ts';

/** Widest cell. */
const MAX_CELL = 160;

/** Lines of a table; every column but the last is as wide as its widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [head, ...rows].map((row) => row.map((cell) => printable(cell, MAX_CELL) || '-'));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}
