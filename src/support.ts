// What the support bundle is made of, for a relay that runs and for one that does not. Part of the composition root.
import { dirname } from 'node:path';
import { type BundleParts, bundle, bundleName } from './bundle/bundle.ts';
import type { CliContext } from './cli/command.ts';
import { textValue } from './config/edit.ts';
import type { Section } from './config/links-edit.ts';
import { loadConfig } from './config/load.ts';
import { formatProblems } from './config/problem.ts';
import { ConfigRefused } from './config/refused.ts';
import type { Config } from './config/schema.ts';
import { reportOf } from './core/diagnosis.ts';
import { examineAtRest } from './doctor/at-rest.ts';
import { systemClock } from './lib/clock.ts';
import { FatalError } from './lib/errors.ts';
import { LINK_KINDS } from './links/index.ts';
import { versionLine } from './version.ts';

export interface MadeBundle {
  readonly name: string;
  readonly bytes: Buffer;
}

export type LiveParts = Required<Pick<BundleParts, 'status' | 'events' | 'audit' | 'log' | 'metrics'>> &
  Pick<BundleParts, 'doctor' | 'secrets' | 'wallMs'>;

/** Of a relay that runs. `config`: the file's text and path. */
export async function liveBundle(
  name: string,
  config: { readonly text: string; readonly path: string },
  parts: LiveParts,
): Promise<MadeBundle> {
  const made = await bundle({ ...parts, ...configParts(config.text, config.path), version: versionLine() });
  return { name: bundleName(name, parts.wallMs), bytes: made };
}

/** While no relay runs. */
export async function bundleAtRest({ env, defaults, signal }: CliContext): Promise<MadeBundle> {
  const wallMs = systemClock.wallMs();
  const loaded = await loadConfig({ env, defaults }).catch((error: Error) => {
    if (error instanceof FatalError) return { problems: [], path: undefined, text: '', trouble: error.message };
    throw error;
  });
  const diagnoses = 'config' in loaded ? await atRest(loaded.config, undefined, signal) : [];
  const problems = 'problems' in loaded ? formatProblems(loaded.problems, loaded.path ?? 'configuration') : '';
  const { config, baseDir, configTrouble } = configParts(loaded.text, loaded.path ?? '/');
  const bytes = await bundle({
    wallMs,
    version: versionLine(),
    config,
    baseDir,
    configTrouble: [configTrouble, problems, 'trouble' in loaded ? loaded.trouble : ''].filter(Boolean).join('\n'),
    doctor: reportOf(new Date(wallMs).toISOString(), true, diagnoses),
    secrets: [],
  });
  return { name: bundleName('config' in loaded ? loaded.config.name : defaults.hostName, wallMs), bytes };
}

/** What the doctor can tell while no relay runs. */
export function atRest({ links, api }: Config, link: string | undefined, signal: AbortSignal) {
  const places = [api.listen, ...(api.tls ? [api.tls] : [])];
  return examineAtRest({ kinds: LINK_KINDS, entries: links, api: places, clock: systemClock, signal }, link);
}

function configParts(text: string, path: string): Pick<BundleParts, 'config' | 'baseDir' | 'configTrouble'> {
  const baseDir = dirname(path);
  try {
    const value = textValue(text);
    const config = typeof value === 'object' && value !== null ? (value as Section) : undefined;
    return { config, baseDir, configTrouble: '' };
  } catch (error) {
    if (!(error instanceof ConfigRefused)) throw error;
    return { config: undefined, baseDir, configTrouble: error.message };
  }
}
