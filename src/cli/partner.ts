// `waystation partner`: boxes and fleet managers that look at this one over HTTPS, and that it looks at, by two factors.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { API_HELP, API_OPTIONS, type ApiTarget, askJson, findApi, sendJson } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { table } from './table.ts';

const PATH = '/api/federation/partners';
/** It may take as long to find out that nobody answers. */
const PING_TIMEOUT_MS = 45_000;

interface PartnerRow {
  readonly name: string;
  readonly url: string | null;
  readonly pins: readonly string[];
  readonly server_pin: string | null;
  readonly inbound: { readonly made_at: string; readonly previous_until: string | null };
  readonly outbound: { readonly set_at: string } | null;
  readonly last: { readonly at: string | null; readonly status: string; readonly words: string };
}

interface Listed {
  readonly partners: readonly PartnerRow[];
  readonly this_box: {
    readonly url: string;
    readonly server_pin: string;
    readonly certificates: readonly { readonly fingerprint: string; readonly not_after: string }[];
  };
}

interface Ping {
  readonly ok: boolean;
  readonly outcome: string;
  readonly latency_ms: number;
  readonly error: string | null;
}

const VERBS = ['add', 'set', 'ping', 'rotate', 'remove'];

export const partnerCommand: Command = {
  name: 'partner',
  usage: 'list | certificate | add NAME --pin PIN | set NAME | ping NAME | rotate NAME | remove NAME',
  summary: 'Look at another box over HTTPS, and let it look: pinned certificates and a secret per direction',
  help: [
    '  list           partners, how they stand, and what they must be told of this box',
    '  certificate    issues the client certificate by which this box calls its partners; its key stays here',
    '  add NAME       a new partner; prints, once, the secret that it must show us',
    '  set NAME       changes what is given',
    '  ping NAME      whether both our factors are right there, and how long it takes',
    '  rotate NAME    a new secret that it must show us; the one before stays good for --overlap hours (default 24)',
    '  remove NAME    from then on it is a stranger',
    '',
    '  --pin PIN              SHA-256 of its client certificate; twice while it changes',
    '  --url URL              where its API is, https://HOST:PORT; without it, it only calls us',
    '  --server-pin PIN       SHA-256 of the certificate of its server, or of the CA of that',
    '  --secret-file FILE     the secret that it printed: what we show it',
    '  --header NAME          HTTP header with the secret (default x-federation-secret)',
    '  --subject S, --days N  of the certificate (default: the name of this box, 90)',
    '  --overlap HOURS        0 to 168',
    '  --json                 as JSON',
    API_HELP,
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        pin: { type: 'string', multiple: true },
        url: { type: 'string' },
        'server-pin': { type: 'string' },
        'secret-file': { type: 'string' },
        header: { type: 'string' },
        subject: { type: 'string' },
        days: { type: 'string' },
        overlap: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const [what = '', name, ...more] = positionals;
    const secretFile = values['secret-file'];
    const settings = defined({
      pins: values.pin,
      url: values.url,
      server_pin: values['server-pin'],
      header: values.header,
      secret: secretFile === undefined ? undefined : readSecret(secretFile),
    });
    const api = await findApi(values, context);
    if (what === 'list' && name === undefined) return list(api, values.json, context);
    if (what === 'certificate' && name === undefined) {
      const body = defined({ subject: values.subject, days: numberOf(values.days) });
      return certificate(api, body, context);
    }
    if (!VERBS.includes(what) || name === undefined || more.length > 0) {
      throw new UsageError(`say list, certificate, or ${VERBS.join(', ')} and a name`);
    }
    const path = `${PATH}/${encodeURIComponent(name)}`;
    const overlap = defined({ overlap_hours: numberOf(values.overlap) });
    switch (what) {
      case 'add':
        return secretOf(await sendJson(api, 'POST', PATH, { name, ...settings }, context.signal), context);
      case 'set':
        await sendJson(api, 'PATCH', path, settings, context.signal);
        context.out(`${name} is changed`);
        return EXIT.ok;
      case 'ping':
        return ping(api, path, name, values.json, context);
      case 'rotate':
        return secretOf(await sendJson(api, 'POST', `${path}/rotate`, overlap, context.signal), context);
      default:
        await askJson(api, path, { method: 'DELETE', signal: context.signal });
        context.out(`${name} is no partner any more`);
        return EXIT.ok;
    }
  },
};

async function list(api: ApiTarget, json: boolean, { signal, out }: CliContext): Promise<number> {
  const listed = await askJson<Listed>(api, PATH, { signal });
  if (json) {
    out(JSON.stringify(listed, null, 2));
    return EXIT.ok;
  }
  const { partners, this_box } = listed;
  const rows = partners.map(({ name, url, outbound, last }) => [
    name,
    url ?? '',
    outbound ? 'entered' : 'missing',
    last.status,
    last.at ?? '',
    last.words,
  ]);
  for (const line of table(['NAME', 'URL', 'ITS SECRET', 'LAST CALL', 'LAST CONTACT', 'WHY'], rows)) out(line);
  out('');
  out('Tell a partner of this box:');
  out(`  url          ${this_box.url || '(set api.tls in the configuration)'}`);
  out(`  server pin   ${this_box.server_pin}`);
  for (const { fingerprint, not_after } of this_box.certificates) {
    out(`  pin          SHA256:${fingerprint}  (until ${not_after.slice(0, 10)})`);
  }
  if (this_box.certificates.length === 0) out('  pin          (waystation partner certificate issues one)');
  return EXIT.ok;
}

async function certificate(api: ApiTarget, body: object, { signal, out }: CliContext): Promise<number> {
  const issued = await sendJson<{ fingerprint: string; not_after: string; certificate_pem: string }>(
    api,
    'POST',
    '/api/federation/certificate',
    body,
    signal,
  );
  out(issued.certificate_pem.trimEnd());
  out(`SHA256:${issued.fingerprint}`);
  out(`good until ${issued.not_after}. Partners pin this fingerprint; until they do, the one before is shown to them`);
  return EXIT.ok;
}

function secretOf({ name, inbound_secret }: { name: string; inbound_secret: string }, { out }: CliContext): number {
  out(inbound_secret);
  out(`This is what ${name} must show us. It cannot be shown again; "waystation partner rotate ${name}" makes another`);
  return EXIT.ok;
}

async function ping(
  api: ApiTarget,
  path: string,
  name: string,
  json: boolean,
  { signal, out }: CliContext,
): Promise<number> {
  const answer = await askJson<Ping>(api, `${path}/ping`, { signal, timeoutMs: PING_TIMEOUT_MS });
  if (json) out(JSON.stringify(answer, null, 2));
  else out(answer.ok ? `${name}: ok, ${answer.latency_ms} ms` : `${name}: ${answer.outcome}: ${answer.error}`);
  return answer.ok ? EXIT.ok : EXIT.failed;
}

function defined(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function numberOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,6}(\.\d{1,3})?$/.test(text)) throw new UsageError(`${JSON.stringify(text)} is no number`);
  return Number(text);
}

function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').split('\n', 1)[0]!.trim();
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
