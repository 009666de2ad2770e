// `waystation doctor`: what is wrong, and the fix. Without a relay that runs it looks at the configuration and the ports.
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { formatProblems, printable } from '../config/problem.ts';
import type { Config } from '../config/schema.ts';
import type { Diagnosis, DoctorReport, Finding } from '../core/diagnosis.ts';
import { LinkError } from '../lib/errors.ts';
import { API_HELP, API_OPTIONS, askJson, findApi } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';

/** The relay takes 25 s at the most. */
const TIMEOUT_MS = 40_000;
const MAX_WORDS = 700;

/** @param examineAtRest what can be told of a configuration while no relay runs; throws FatalError for what it names */
export const doctorCommand = (
  examineAtRest: (config: Config, link: string | undefined) => Promise<Diagnosis[]>,
): Command => ({
  name: 'doctor',
  usage: '[LINK] [--look] [--all] [--json] [--api URL]',
  summary: 'Say what is wrong with the links, or with one, and the fix',
  help: [
    '  --look      only what the relay knows: nobody is dialled. Otherwise the way to far ends that are not connected is',
    '              gone anew: name, port, TLS and both certificates, protocol (up to 25 s)',
    '  --all       also show what is well',
    '  --json      as JSON',
    API_HELP,
    '',
    'The last line says it in one sentence. Exit code 0: nothing is wrong. 1: something is. 4: no relay is running; then the',
    'configuration and the ports were looked at. 3: the configuration is bad.',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        look: { type: 'boolean', default: false },
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    const [link, ...more] = positionals;
    if (more.length > 0) throw new UsageError('name one link, or none for all');
    const print = (report: DoctorReport) =>
      context.out(values.json ? JSON.stringify(report, null, 2) : renderReport(report, values.all));
    try {
      const path = link === undefined ? '/api/doctor' : `/api/doctor/${encodeURIComponent(link)}`;
      const request = values.look
        ? { signal: context.signal }
        : { method: 'POST', body: '{}', type: 'application/json', timeoutMs: TIMEOUT_MS, signal: context.signal };
      const report = await askJson<DoctorReport>(await findApi(values, context), path, request);
      print(report);
      return report.finding === 'bad' ? EXIT.failed : EXIT.ok;
    } catch (error) {
      if (!(error instanceof LinkError) || error.code !== 'not_running' || values.api !== undefined) throw error;
      return await atRest(link, context, examineAtRest, error);
    }
  },
});

async function atRest(
  link: string | undefined,
  context: CliContext,
  examine: (config: Config, link: string | undefined) => Promise<Diagnosis[]>,
  { message, fix }: LinkError,
): Promise<number> {
  const loaded = await loadConfig({ env: context.env, defaults: context.defaults });
  if ('problems' in loaded) {
    context.err(formatProblems(loaded.problems, loaded.path ?? 'configuration'));
    return EXIT.badConfig;
  }
  const diagnoses = await examine(loaded.config, link);
  if (link !== undefined && diagnoses.length === 0) throw new UsageError(`the configuration has no link "${link}"`);
  for (const line of diagnoses.flatMap((one) => diagnosisLines(one, true))) context.out(line);
  const trouble = diagnoses.find(({ finding }) => finding === 'bad');
  context.out(`\nNo relay is running (${message}).${trouble ? ` ${trouble.sentence}` : ` Fix: ${fix}.`}`);
  return EXIT.notRunning;
}

/** What is wrong first in each link; the sentence last. */
export function renderReport({ diagnoses, sentence }: DoctorReport, all: boolean): string {
  return [...diagnoses.flatMap((one) => diagnosisLines(one, all)), '', printable(sentence, MAX_WORDS * 2)].join('\n');
}

const MARKS: Readonly<Record<Finding, string>> = { ok: 'ok  ', unknown: '?   ', warn: 'warn', bad: 'BAD ' };

function diagnosisLines({ link, kind, finding, checks }: Diagnosis, all: boolean): string[] {
  const shown = checks.filter((check) => all || check.finding !== 'ok');
  const head = link === '' ? 'This box' : `${link} (${kind})`;
  return [
    `${MARKS[finding]} ${head}`,
    ...shown.flatMap(({ id, of, words, fix, ...check }) => {
      const what = `${id.replaceAll('_', ' ')}${of === '' ? '' : ` ${printable(of, 64)}`}`;
      const lines = [`     ${MARKS[check.finding]} ${what}: ${printable(words, MAX_WORDS)}`];
      return fix === '' ? lines : [...lines, `          fix: ${printable(fix, MAX_WORDS)}`];
    }),
  ];
}
