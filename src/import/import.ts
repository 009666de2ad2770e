// Tells by what is in it what a file is, and makes a plan of it. Runs in the command, not in the relay: whatever a file holds, the
// relay goes on.
import { readP12, readPem, sortOut, trustOnly, Unreadable } from './certificates.ts';
import { fromPackage } from './package.ts';
import { NOTHING, type Plan, refused, slug } from './plan.ts';
import { fromFederationJson, fromFtsConfig, fromFtsEnvironment } from './settings.ts';
import { fromCoreConfig } from './tak-xml.ts';

/** Nothing that is imported is larger. */
export const MAX_IMPORT_BYTES = 8 * 1024 * 1024;

export interface Source {
  /** File name, or the link itself. */
  readonly name: string;
  readonly bytes: Buffer;
}

export interface ImportOptions {
  readonly nowMs: number;
  /** Of P12 files and keys. */
  readonly password: string | undefined;
}

/** Never rejects for what is in the file: that is a finding. */
export async function planOf({ name, bytes }: Source, options: ImportOptions): Promise<Plan> {
  const base = slug(
    name
      .split(/[\\/]/)
      .at(-1)!
      .replace(/\.[^.]*$/, ''),
  );
  try {
    return await plan(name, base, bytes, options);
  } catch (error) {
    if (error instanceof Unreadable) return refused(error.message, error.fix);
    return refused(error instanceof Error ? error.message : String(error));
  }
}

async function plan(name: string, base: string, bytes: Buffer, { nowMs, password }: ImportOptions): Promise<Plan> {
  if (bytes.length > MAX_IMPORT_BYTES)
    return refused(`it is larger than ${MAX_IMPORT_BYTES >> 20} MiB: nothing that can be imported is`);
  if (bytes.length === 0) return refused('it is empty');
  if (bytes.readUInt32BE(0) === 0xfeedfeed)
    return refused('it is a Java keystore (JKS), which is not read here', JKS_FIX);
  if (bytes.subarray(0, 2).toString() === 'PK') return fromPackage(bytes, base, nowMs);
  if (bytes[0] === 0x30) return p12(bytes, base, nowMs, password);
  const text = bytes.toString('utf8').replace(/^\uFEFF/, '');
  if (text.includes('-----BEGIN')) return pem(text, base, nowMs, password);
  if (/^\s*</.test(text)) return fromCoreConfig(text);
  if (/^\s*\{/.test(text)) return fromFederationJson(text);
  if (/^tak:\/\//.test(text)) return fromTakLink(text.trim());
  if (/^\s*(?:export\s+|Environment=)?"?FTS_[A-Z_]+=/m.test(text)) return fromFtsEnvironment(text);
  if (/^\s*(System|Addresses|Certs|FileSystem)\s*:/m.test(text)) return fromFtsConfig(text);
  return refused(`${JSON.stringify(name.slice(0, 100))} is nothing that can be imported`, WHAT_FIX);
}

const JKS_FIX =
  'convert it: keytool -importkeystore -srckeystore FILE.jks -destkeystore FILE.p12 -deststoretype PKCS12, and import FILE.p12';
const WHAT_FIX =
  'federation.json, FTSConfig.yaml, FTS_ settings, CoreConfig.xml, federation-server.xml, connection packages, tak:// links, PEM and P12 can be';

async function p12(bytes: Buffer, base: string, nowMs: number, password: string | undefined): Promise<Plan> {
  if (password === undefined)
    return refused(
      'it is a P12 file, which has a password',
      'put the password into a file and name that with --password-file',
    );
  return fromBundle(sortOut(await readP12(bytes, password), base, nowMs), base);
}

function pem(text: string, base: string, nowMs: number, password: string | undefined): Plan {
  const bundle = readPem(text, password);
  if (bundle.certificates.length === 0)
    return refused('no certificate is in it', 'name the file that holds the certificate, too');
  return fromBundle(bundle.key ? sortOut(bundle, base, nowMs) : trustOnly(bundle, base, nowMs), base);
}

/** Whom to trust goes to the whole relay; a pair of ours waits for the link that shows it. */
function fromBundle({ plan, cert, trust }: ReturnType<typeof sortOut>, base: string): Plan {
  const findings = cert
    ? [
        ...plan.findings,
        { level: 'ok' as const, words: `name it at the link that shows it: cert: ${base}.pem, key: ${base}.key` },
      ]
    : plan.findings;
  return { ...NOTHING, files: plan.files, trust, findings };
}

function fromTakLink(link: string): Plan {
  const url = URL.parse(link);
  const what = url?.pathname.replace(/^\/+/, '') || url?.hostname;
  if (what === 'enroll' || link.includes('/enroll')) {
    const host = url?.searchParams.get('host') ?? '';
    if (!/^[^\s/]{1,260}$/.test(host)) return refused('the link names no host to enrol at');
    return refused(
      `it lets a phone enrol at ${host}, with a token that is good once`,
      `ask the operator of ${host} for a client certificate (P12) for this box, and import that`,
    );
  }
  const from = url?.searchParams.get('url');
  if (from)
    return refused(
      'it names a package elsewhere, which is not fetched from here',
      `download it yourself, look at it, and import the file: ${from.slice(0, 300)}`,
    );
  return refused('it is a tak:// link of an unknown kind');
}
