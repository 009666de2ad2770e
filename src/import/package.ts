// Connection packages of ATAK and iTAK (.zip, .dpk): where to connect, whom to trust, with which certificate. Looked through in
// memory; no name in it becomes the name of a file.
import { unzipSync } from 'fflate';
import { type Bundle, readP12, sortOut, Unreadable } from './certificates.ts';
import { joined, NOTHING, type Plan, refused, type Section, slug } from './plan.ts';
import { preferences } from './tak-xml.ts';

const MAX_ENTRIES = 64;
const MAX_ENTRY_BYTES = 1024 * 1024;
const MAX_ALL_BYTES = 4 * 1024 * 1024;
const MAX_STREAMS = 16;

export async function fromPackage(bytes: Buffer, fileName: string, nowMs: number): Promise<Plan> {
  let files: ReadonlyMap<string, Buffer>;
  try {
    files = unpacked(bytes);
  } catch (error) {
    return refused(
      error instanceof Unreadable ? error.message : 'it is no zip file, or a damaged one',
      'have the package made again',
    );
  }
  const pref = [...files].find(([name]) => name.endsWith('.pref'))?.[1];
  if (!pref) return refused('no preference file (.pref) is in it, so it is no connection package');
  const entries = preferences(pref.toString('utf8'));
  const count = Math.min(MAX_STREAMS, Number(entries.get('count') ?? 1) || 1);
  const plans: Plan[] = [];
  for (let index = 0; index < count; index++) plans.push(await streamOf(entries, index, files, slug(fileName), nowMs));
  return joined(plans);
}

/** @throws Unreadable */
function unpacked(bytes: Buffer): ReadonlyMap<string, Buffer> {
  let [count, total] = [0, 0];
  const entries = unzipSync(bytes, {
    filter: ({ name, originalSize }) => {
      count++;
      total += originalSize;
      if (count > MAX_ENTRIES) throw new Unreadable(`more than ${MAX_ENTRIES} files are in it`, '');
      if (originalSize > MAX_ENTRY_BYTES || total > MAX_ALL_BYTES)
        throw new Unreadable('it unpacks to more than a connection package has', '');
      if (name.includes('..') || /^[/\\]|^[a-z]:/i.test(name))
        throw new Unreadable('a name in it leads out of the package', '');
      return !name.endsWith('/');
    },
  });
  return new Map(Object.entries(entries).map(([name, data]) => [name.toLowerCase(), Buffer.from(data)]));
}

/** One connection: keys with its number (ATAK), and without (iTAK). */
async function streamOf(
  entries: ReadonlyMap<string, string>,
  index: number,
  files: ReadonlyMap<string, Buffer>,
  fileName: string,
  nowMs: number,
): Promise<Plan> {
  const get = (key: string) => entries.get(`${key}${index}`) ?? entries.get(key);
  const [, host = '', port = '', kind = ''] = /^(.+):(\d{1,5}):(ssl|tcp|quic)$/i.exec(get('connectString') ?? '') ?? [];
  if (host === '') return refused(`connection ${index} says no address of the form host:port:ssl`);
  const title = get('description') || host;
  const name = slug(title, fileName);
  if (kind.toLowerCase() === 'quic')
    return refused(`${title}: QUIC is not spoken here`, 'use its SSL port, usually 8089');
  const link: Section = { name, kind: 'cot', connect: `${host}:${port}` };
  if (kind.toLowerCase() === 'tcp') {
    return {
      ...NOTHING,
      links: [link],
      findings: [{ level: 'warning', words: `${title} is plain TCP: anybody in between can read and write` }],
    };
  }
  try {
    const ca = await store(files, get('caLocation'), get('caPassword'));
    const own = await store(files, get('certificateLocation'), get('clientPassword'));
    const certificates = [...(own?.certificates ?? []), ...(ca?.certificates ?? [])];
    const once = certificates.filter((one, at) => certificates.findIndex((other) => other.raw.equals(one.raw)) === at);
    const sorted = sortOut({ certificates: once, key: own?.key }, name, nowMs);
    const { cert, key, trust } = sorted;
    const enrols = !cert && get('enrollForCertificateWithTrust')?.startsWith('true');
    return {
      links: [{ ...link, tls: { ...(cert && key ? { cert, key } : {}), trust } }],
      files: sorted.plan.files,
      trust: [],
      networks: [],
      findings: [
        ...sorted.plan.findings,
        ...(enrols
          ? [
              {
                level: 'warning' as const,
                words: `${title}: the package has no certificate, phones enrol for one`,
                fix: 'ask its operator for a client certificate (P12) for this box',
              },
            ]
          : []),
      ],
    };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return refused(`${title}: ${error.message}`, error.fix);
  }
}

async function store(
  files: ReadonlyMap<string, Buffer>,
  location: string | undefined,
  password: string | undefined,
): Promise<Bundle | undefined> {
  if (!location) return undefined;
  const base = location.toLowerCase().split(/[\\/]/).at(-1)!;
  const found = [...files].find(([name]) => name.split(/[\\/]/).at(-1) === base)?.[1];
  if (!found) throw new Unreadable(`${base} is named but not in the package`, 'have the package made again');
  return readP12(found, password ?? '');
}
