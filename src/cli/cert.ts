// `waystation cert`: our certificates for people to hand to peers and phones.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { colons } from '../config/coreconfig.ts';
import { loadConfig } from '../config/load.ts';
import { FatalError } from '../lib/errors.ts';
import { MAIN_NETWORK } from '../onboarding/phones.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';

/** What this command needs of identity/: the command line itself keeps no keys. */
export interface Certificates {
  readonly id: string;
  readonly ca: { readonly certPem: string; readonly fingerprint: string; readonly commonName: string };
  federation(link?: string): { readonly certPem: string; readonly fingerprint: string; readonly commonName: string };
  portal(): { readonly fingerprint: string; readonly commonName: string };
  issueClient(
    name: string,
    days?: number,
    network?: string,
  ): { readonly certPem: string; readonly keyPem: string; readonly fingerprint: string; readonly notAfterMs: number };
}

export type OpenCertificates = (where: { readonly dir: string; readonly name: string }) => Certificates;

/** @param open opens the identity of the data folder */
export function certCommand(open: OpenCertificates): Command {
  return {
    name: 'cert',
    usage: 'show [--ca|--federation [--link NAME]] | issue NAME [--days N] [--network NAME] [--out FOLDER]',
    summary: 'Show our CA and federation certificate, or issue one for a phone or client',
    help: [
      '  show                 names and SHA-256 fingerprints; with --ca or --federation the PEM itself',
      '  issue NAME           NAME.pem (certificate and CA), NAME.key and NAME-ca.pem for a TLS client on port 8089',
      '  --link NAME          the certificate that link dials with (default: the one our listeners show)',
      '  --days N             how long it is valid (default 730)',
      '  --network NAME       the network of the box that it is for (default: main)',
      '  --out FOLDER         where to write (default: this folder)',
      '  --config FILE        configuration that names the data folder',
    ].join('\n'),
    async run([what, ...args], context) {
      if (what === 'show') return show(args, context, open);
      if (what === 'issue') return issue(args, context, open);
      throw new UsageError('say "show" or "issue"');
    },
  };
}

/** Our certificates, from the data folder that the configuration names. @throws FatalError */
export async function ownCertificates(
  path: string | undefined,
  context: CliContext,
  open: OpenCertificates,
  link?: string,
): Promise<Certificates> {
  const loaded = await loadConfig({ path, env: context.env, defaults: context.defaults });
  if (!('config' in loaded)) {
    throw new FatalError('config_invalid', 'the configuration has mistakes', '"waystation check" lists them');
  }
  if (link !== undefined && !loaded.config.links.some(({ name }) => name === link)) {
    throw new FatalError('no_such_link', `the configuration has no link "${link}"`, 'name one it has');
  }
  const dir = join(loaded.config.data, 'identity');
  // Another user, another configuration: it is easy to show the certificates of a box that does not exist.
  context.err(existsSync(dir) ? `identity of ${dir}` : `no identity was in ${dir}: a new one is made there`);
  return open({ dir, name: loaded.config.name });
}

async function show(args: readonly string[], context: CliContext, open: OpenCertificates): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ca: { type: 'boolean' },
      federation: { type: 'boolean' },
      link: { type: 'string' },
      config: { type: 'string' },
    },
  });
  const identity = await ownCertificates(values.config, context, open, values.link);
  const { id, ca } = identity;
  const leaf = identity.federation(values.link);
  if (values.ca) context.out(ca.certPem.trimEnd());
  else if (values.federation) context.out(leaf.certPem.trimEnd());
  else {
    context.out(`node id      ${id}`);
    context.out(`CA           ${ca.commonName}\n  SHA256:${ca.fingerprint}`);
    context.out(`federation   ${leaf.commonName}\n  SHA-256    ${colons(leaf.fingerprint)}`);
    const portal = identity.portal();
    context.out(`portal       ${portal.commonName}\n  SHA256:${portal.fingerprint}`);
    context.out(
      'For "trust:" at a peer: the CA itself ("waystation cert show --ca > our-ca.pem"), or its line SHA256:… above.',
    );
    context.out('For "pin:" in the portal link of another Waystation: the line SHA256:… of portal.');
  }
  return EXIT.ok;
}

async function issue(args: readonly string[], context: CliContext, open: OpenCertificates): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      days: { type: 'string' },
      network: { type: 'string', default: MAIN_NETWORK },
      out: { type: 'string', default: '.' },
      config: { type: 'string' },
    },
  });
  const [name, ...more] = positionals;
  if (!name || more.length > 0 || !/^[\w.-]{1,64}$/.test(name))
    throw new UsageError('name it with letters, digits, . _ or -');
  const days = values.days === undefined ? undefined : Number(values.days);
  if (days !== undefined && !(days >= 1 && days <= 3650)) throw new UsageError('--days takes 1 to 3650');
  const network = await networkNamed(values.network, values.config, context);
  const identity = await ownCertificates(values.config, context, open);
  const taken = ['.pem', '.key', '-ca.pem']
    .map((end) => join(values.out, `${name}${end}`))
    .find((path) => existsSync(path));
  if (taken)
    throw new FatalError('exists', `${taken} exists already`, 'choose another name, or another folder with --out');
  const pair = identity.issueClient(name, days, network);
  const file = (suffix: string) => join(values.out, suffix);
  try {
    mkdirSync(values.out, { recursive: true });
    writeFileSync(file(`${name}.key`), pair.keyPem, { mode: 0o600, flag: 'wx' });
    writeFileSync(file(`${name}.pem`), pair.certPem);
    writeFileSync(file(`${name}-ca.pem`), identity.ca.certPem);
  } catch (error) {
    throw new FatalError(
      'not_written',
      `cannot write to ${values.out}: ${(error as Error).message}`,
      'choose another folder with --out',
      error,
    );
  }
  context.out(
    `${file(`${name}.pem`)}, ${file(`${name}.key`)} and ${file(`${name}-ca.pem`)}; valid until ${new Date(pair.notAfterMs).toISOString().slice(0, 10)}`,
  );
  return EXIT.ok;
}

/** As a certificate says it: nothing of the main one. @throws FatalError when the box has no such network */
async function networkNamed(name: string, path: string | undefined, { env, defaults }: CliContext): Promise<string> {
  if (name === MAIN_NETWORK) return '';
  const loaded = await loadConfig({ path, env, defaults });
  const names = 'config' in loaded ? loaded.config.networks.map((one) => one.name) : [];
  if (names.includes(name) || 'problems' in loaded) return name;
  const words = `the configuration has no network "${name}"`;
  throw new FatalError('unknown_network', words, `name one it has: ${[MAIN_NETWORK, ...names].join(', ')}`);
}
