// What an import comes to, before anything is written: links, certificates and keys, and words about each. Nothing of it is believed:
// the relay checks the links as it checks its file.

/** Section of the configuration file. A text that begins with `file:` stands for a file of the plan. */
export type Section = Readonly<Record<string, unknown>>;

export interface Finding {
  readonly level: 'ok' | 'warning' | 'refused';
  readonly words: string;
  readonly fix?: string | undefined;
}

export interface PlanFile {
  /** Ends in .pem or .key; letters, digits, dashes. */
  readonly name: string;
  readonly text: string;
}

export interface Plan {
  readonly links: readonly Section[];
  readonly files: readonly PlanFile[];
  /** Files and pins for the whole relay's `trust`. */
  readonly trust: readonly string[];
  /** Networks inside this box that the links are in. */
  readonly networks: readonly Section[];
  readonly findings: readonly Finding[];
}

export const NOTHING: Plan = { links: [], files: [], trust: [], networks: [], findings: [] };

export function joined(plans: readonly Plan[]): Plan {
  return {
    links: plans.flatMap(({ links }) => links),
    files: plans.flatMap(({ files }) => files),
    networks: plans.flatMap(({ networks }) => networks),
    trust: [...new Set(plans.flatMap(({ trust }) => trust))],
    findings: plans.flatMap(({ findings }) => findings),
  };
}

export function refused(words: string, fix?: string): Plan {
  return { ...NOTHING, findings: [{ level: 'refused', words, fix }] };
}

export function fileRef(name: string): string {
  return `file:${name}`;
}

/** A name for links and files. */
export function slug(said: string, otherwise = 'imported'): string {
  const plain = said
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 24)
    .replace(/-+$/, '');
  return plain || otherwise;
}
