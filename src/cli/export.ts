// `waystation export`: what others need to federate with us: the part of CoreConfig.xml (config/coreconfig.ts), federation.json, our CA
// as a truststore.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { coreConfig, hopsTowards } from '../config/coreconfig.ts';
import { DEFAULT_CONFIG } from '../config/defaults.ts';
import { linksOf, type Section } from '../config/links-edit.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { FatalError } from '../lib/errors.ts';
import { trustP12 } from '../onboarding/p12.ts';
import { type OpenCertificates, ownCertificates } from './cert.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { readPassword } from './password.ts';

/** @param open opens the identity of the data folder */
export function exportCommand(open: OpenCertificates): Command {
  return {
    name: 'export',
    usage:
      'coreconfig [--v1] [--address HOST [--port N]] [--link NAME] [--peer NAME] [--group NAME] | federation.json | truststore FILE --password-file FILE',
    summary:
      'What others need to federate with this relay: CoreConfig.xml part, federation.json, our CA as P12 truststore',
    help: [
      '  federation.json  the federates this relay dials, as the TAK Server guide has them',
      '  truststore FILE  our CA certificate as a P12 truststore, with the password in the file named by --password-file',
      '',
      'coreconfig:',
      '  --address HOST   their server dials us, at this address (leave it out when we dial: only one side may)',
      '  --port N         our federation port (default: the one in the configuration)',
      '  --v1             Federation v1 (a fed1 link), for a server that offers no v2',
      '  --link NAME      the link that dials them: it has its own certificate',
      '  --peer NAME      the federate registered here that this is for: its hop limits go in, for its way to us',
      '  --group NAME     the TAK group to share (default __ANON__); without one the link is up and nothing flows',
      '  --config FILE    configuration that names the data folder',
    ].join('\n'),
    async run([what, ...args], context) {
      if (what === 'federation.json') return federationJson(args, context);
      if (what === 'truststore') return truststore(args, context, open);
      if (what !== 'coreconfig') throw new UsageError('say what to export: coreconfig, federation.json or truststore');
      const { values } = parseArgs({
        args: [...args],
        options: {
          address: { type: 'string' },
          port: { type: 'string' },
          v1: { type: 'boolean', default: false },
          link: { type: 'string' },
          peer: { type: 'string' },
          group: { type: 'string', default: '__ANON__' },
          config: { type: 'string' },
        },
      });
      const { links, text } = await linksIn(values.config, context);
      if (values.link !== undefined) mustFederate(values.link, links);
      const port = Number(values.port ?? ourPort(links, values.v1));
      if (!Number.isInteger(port) || port < 1 || port > 65535) throw new UsageError('--port takes 1 to 65535');
      const identity = await ownCertificates(values.config, context, open, values.link);
      const { ca } = identity;
      const leaf = identity.federation(values.link);
      context.out(
        coreConfig({
          name: leaf.commonName,
          v1: values.v1,
          outgoing: values.address === undefined ? undefined : { address: values.address, port },
          leaf: leaf.fingerprint,
          ca: ca.fingerprint,
          federate: `${leaf.commonName}:${ca.commonName}`,
          group: values.group,
          hops: hopsFor(text, values),
        }),
      );
      return EXIT.ok;
    },
  };
}

/** What the configuration has; nothing of one with mistakes, which is for ownCertificates() to refuse. */
async function linksIn(
  path: string | undefined,
  context: CliContext,
): Promise<{ readonly links: Config['links']; readonly text: string }> {
  const loaded = await loadConfig({ path, env: context.env, defaults: context.defaults });
  return 'config' in loaded ? { links: loaded.config.links, text: loaded.text } : { links: [], text: '' };
}

/** Towards the federate this is for: registered here by that name, or behind the link that dials it. */
function hopsFor(text: string, { peer: name, link }: { readonly peer?: string; readonly link?: string }) {
  const links = linksOf(text);
  if (name === undefined) return hopsTowards(links.find((one) => one.name === link) ?? {});
  for (const one of links) {
    const registered = one.kind === 'fed2' && Array.isArray(one.peers) ? (one.peers as Section[]) : [];
    const found = registered.find((federate) => federate.name === name);
    if (found) return hopsTowards(one, found);
  }
  const words = `no federate is registered as "${name}"`;
  throw new FatalError('unknown_peer', words, '"waystation federation peers" lists them');
}

/** A TAK Server federates with links of kind fed1 and fed2 only. An unknown name is for ownCertificates() to refuse. */
function mustFederate(name: string, links: Config['links']): void {
  const kind = links.find((link) => link.name === name)?.kind;
  if (kind === undefined || kind === 'fed1' || kind === 'fed2') return;
  const words = `link "${name}" is of kind ${kind}, which a TAK Server does not federate by`;
  throw new FatalError('not_federated', words, 'name a link of kind fed2, or fed1 with --v1');
}

/** The port on which federates reach us: the usual one where it is among ours, or when there is none. */
function ourPort(links: Config['links'], v1: boolean): number {
  const usual = v1 ? 9000 : 9001;
  const ports = links.flatMap(({ kind, enabled, settings }) => {
    const { listen } = settings as { readonly listen?: readonly { readonly port: number }[] };
    return enabled && (kind === 'fed2' || (v1 && kind === 'fed1')) ? (listen ?? []).map(({ port }) => port) : [];
  });
  return ports.includes(usual) ? usual : (ports[0] ?? usual);
}

/** The federates we dial. */
async function federationJson(args: readonly string[], context: CliContext): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { config: { type: 'string' } } });
  const loaded = await loadConfig({ path: values.config, env: context.env, defaults: context.defaults });
  if ('problems' in loaded) {
    throw new FatalError('config_bad', 'the configuration is not good', '"waystation check" lists what is wrong');
  }
  context.out(JSON.stringify({ version: 1, peers: federationPeers(loaded.text || DEFAULT_CONFIG) }, null, 2));
  return EXIT.ok;
}

/** In the shape of the guide's `federation.json`. */
export function federationPeers(text: string): readonly object[] {
  return linksOf(text).flatMap((link) => {
    const { kind, connect, name, label, trust } = link;
    const [, v6, host, port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(String(connect)) ?? [];
    if ((kind !== 'fed1' && kind !== 'fed2') || port === undefined) return [];
    const policy = (link.policy ?? {}) as Section;
    const texts = (list: unknown) => (Array.isArray(list) ? list.map(String) : []);
    const ca = texts(trust).find((entry) => !/^sha-?256:/i.test(entry));
    return [
      {
        name: String(label ?? name),
        address: v6 ?? host,
        port: Number(port),
        ...(ca === undefined ? {} : { ca_cert: ca }),
        bidirectional: policy.out !== false && policy.in !== false,
        filters: {
          cot_types: texts(policy.allow_types),
          groups: [...new Set([...texts(policy.groups_in), ...texts(policy.groups_out)])],
        },
      },
    ];
  });
}

async function truststore(args: readonly string[], context: CliContext, open: OpenCertificates): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { config: { type: 'string' }, 'password-file': { type: 'string' } },
  });
  const [file, ...more] = positionals;
  if (!file || more.length > 0) throw new UsageError('name the file to write');
  if (values['password-file'] === undefined) throw new UsageError('name a file with its password: --password-file');
  const { ca } = await ownCertificates(values.config, context, open);
  const bytes = await trustP12(ca.certPem, 'waystation', readPassword(values['password-file']));
  try {
    writeFileSync(file, bytes, { flag: 'wx' });
  } catch (error) {
    const words = `cannot write ${file}: ${error instanceof Error ? error.message : String(error)}`;
    throw new FatalError('not_written', words, 'name a new file in a folder you may write to', error);
  }
  context.out(`${file}: the CA certificate ${ca.commonName}, SHA256:${ca.fingerprint}`);
  return EXIT.ok;
}
