// What the doctor says: checks in the order in which one rests on the other, and one sentence that ends with the fix. Plain data,
// for page, API and command line.

/** `unknown`: could not be told from here. */
export const FINDINGS = ['ok', 'unknown', 'warn', 'bad'] as const;
export type Finding = (typeof FINDINGS)[number];

export interface Check {
  /** `settings`, `name`, `port`, `tls`, …: stable. */
  readonly id: string;
  /** What was looked at: a peer, an address; '' when it is the link itself. */
  readonly of: string;
  readonly finding: Finding;
  readonly words: string;
  /** What to do; '' when there is nothing to do. */
  readonly fix: string;
}

/** Of one link, or of the box. */
export interface Diagnosis {
  /** '' for the box. */
  readonly link: string;
  readonly kind: string;
  readonly finding: Finding;
  readonly checks: readonly Check[];
  /** What it comes to, and the fix. */
  readonly sentence: string;
}

export interface DoctorReport {
  /** ISO-8601 UTC. */
  readonly at: string;
  /** Whether far ends were tried, or only what is known was looked at. */
  readonly tried: boolean;
  readonly finding: Finding;
  readonly diagnoses: readonly Diagnosis[];
  readonly sentence: string;
}

/** The worst of them; `ok` of none. A thing that cannot be told from here is no fault. */
export function worst(findings: readonly Finding[]): Finding {
  return findings.reduce<Finding>((a, b) => (FINDINGS.indexOf(b) > FINDINGS.indexOf(a) ? b : a), 'ok');
}

/** The first of the worst checks is the cause: what comes after rests on it. */
export function diagnosisOf(link: string, kind: string, checks: readonly Check[], wellWords: string): Diagnosis {
  const finding = worst(checks.map((check) => check.finding));
  const cause = checks.find((check) => check.finding === finding && (check.finding !== 'unknown' || check.fix !== ''));
  const name = link === '' ? 'This box' : link;
  const well = finding === 'ok' || !cause;
  return {
    link,
    kind,
    finding,
    checks,
    sentence: well ? `${name}: ${wellWords}.` : `${name}: ${sentenceOf(cause)}`,
  };
}

export function reportOf(at: string, tried: boolean, diagnoses: readonly Diagnosis[]): DoctorReport {
  const finding = worst(diagnoses.map((one) => one.finding));
  const sick = diagnoses.filter((one) => one.finding === finding);
  const more = sick.length > 1 && finding !== 'ok' ? ` (and ${sick.length - 1} more)` : '';
  const sentence = finding === 'ok' ? wellSentence(diagnoses) : `${sick[0]!.sentence}${more}`;
  return { at, tried, finding, diagnoses, sentence };
}

function wellSentence(diagnoses: readonly Diagnosis[]): string {
  if (diagnoses.length === 1) return diagnoses[0]!.sentence;
  const links = diagnoses.filter(({ link }) => link !== '').length;
  return `Nothing is wrong: ${links === 1 ? 'one link was' : `${links} links were`} looked at, and this box.`;
}

function sentenceOf({ words, fix }: Check): string {
  const said = words.replace(/[.\s]+$/, '');
  return fix === '' ? `${said}.` : `${said}. Fix: ${fix.replace(/[.\s]+$/, '')}.`;
}
