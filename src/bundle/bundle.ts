// The support bundle: what somebody far away needs to see what is wrong, in one file, without any secret of the box.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { valueText } from '../config/edit.ts';
import type { Section } from '../config/links-edit.ts';
import { masked, secretsIn } from '../config/secrets.ts';
import type { DoctorReport } from '../core/diagnosis.ts';
import { tar } from '../lib/tar.ts';
import { hostFacts } from './host-facts.ts';
import { scrubber } from './scrub.ts';

/** Of each file; the end of it counts most. */
const MAX_FILE_CHARS = 2 * 1024 * 1024;

export interface BundleParts {
  readonly wallMs: number;
  /** `waystation 0.1.0 (1a2b3c4) node …` */
  readonly version: string;
  /** As written; undefined: it cannot be read. */
  readonly config: Section | undefined;
  /** Where its relative file names start. */
  readonly baseDir: string;
  /** What is wrong with the configuration; ''. */
  readonly configTrouble: string;
  readonly doctor: DoctorReport;
  /** While a relay runs. */
  readonly status?: unknown;
  readonly events?: readonly unknown[];
  readonly audit?: readonly unknown[];
  /** The last lines of the log, each a JSON object. */
  readonly log?: readonly string[];
  readonly metrics?: string;
  /** Secrets that stand elsewhere than in the configuration: the setup code, keys. */
  readonly secrets: readonly string[];
}

const packed = promisify(gzip);

/** A tar.gz. */
export async function bundle(parts: BundleParts): Promise<Buffer> {
  const { wallMs, version, config, baseDir, configTrouble, doctor, status, events, audit, log, metrics } = parts;
  const clean = scrubber([...parts.secrets, ...(config ? secretsIn(config, baseDir) : [])]);
  const json = (value: unknown) => JSON.stringify(value, null, 1);
  const lines = (values: readonly unknown[]) => values.map((value) => JSON.stringify(value)).join('\n');
  const texts: readonly (readonly [name: string, text: string | undefined])[] = [
    ['README.txt', README],
    ['version.txt', `${version}\n`],
    ['doctor.json', json(doctor)],
    ['doctor.txt', doctor.sentence],
    // Comments are left out: nobody can know what stands in them.
    ['config.yaml', config && valueText(masked(config))],
    ['config-trouble.txt', configTrouble || undefined],
    ['host.json', json(hostFacts())],
    ['status.json', status === undefined ? undefined : json(status)],
    ['events.jsonl', events && lines(events)],
    ['audit.jsonl', audit && lines(audit)],
    ['log.jsonl', log?.join('\n')],
    ['metrics.txt', metrics],
  ];
  const files = texts.flatMap(([name, text]) => {
    if (text === undefined) return [];
    return [{ name: `waystation-bundle/${name}`, bytes: Buffer.from(clean(text).slice(-MAX_FILE_CHARS)) }];
  });
  return packed(tar(files, wallMs));
}

/** `waystation-hq-2026-11-29-0231.tar.gz` */
export function bundleName(name: string, wallMs: number): string {
  const at = new Date(wallMs).toISOString().slice(0, 16).replace('T', '-').replace(':', '');
  return `waystation-${name.replaceAll(/[^A-Za-z0-9.-]+/g, '-').slice(0, 40)}-${at}.tar.gz`;
}

const README = `A support bundle of a Waystation relay.

doctor.txt, doctor.json   what it found wrong
status.json               links, peers, queues, drops by reason
config.yaml               its configuration without comments; secrets show as [secret]
log.jsonl, events.jsonl   what happened last
audit.jsonl               who changed what, and who was refused
host.json, version.txt    machine and program

Passwords, keys, tokens and the setup code are taken out. Names and network addresses of peers, and callsigns where an event names
them, are not: read it before you give it to somebody who should not know these.
`;
