// Markup that cannot be broken out of: every value put into a template is escaped unless it is markup itself.

/** Markup, as opposed to text. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | undefined | false | readonly Html[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Marks that rendering leaves where something changes (cells.ts): characters of no text, in no value. */
export const MARK = {
  at: (place: string) => `\u{E000}${place}\u{E001}`,
  pattern: /\u{E000}([^\u{E001}]*)\u{E001}/gu,
} as const;

export function escaped(text: string): string {
  return text.replace(/[&<>"'\u{E000}\u{E001}]/gu, (character) => ESCAPES[character] ?? '');
}

/** html`<b>${name}</b>`: undefined and false are nothing, lists are joined. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  let text = parts[0]!;
  for (const [at, value] of values.entries()) text += rendered(value) + parts[at + 1]!;
  return new Html(text);
}

function rendered(value: Value): string {
  if (value instanceof Html) return value.text;
  if (value === undefined || value === false) return '';
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number') return String(value);
  return value.map(({ text }) => text).join('');
}
