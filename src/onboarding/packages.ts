// Connection packages: what a phone imports to find this box. Made when they are fetched, from a key made for that phone; the
// CA's key is not even here.
import { randomInt, randomUUID } from 'node:crypto';
import { zipSync } from 'fflate';
import { type ClientKey, clientP12, trustP12 } from './p12.ts';
import { type Entries, manifest, prefFile } from './preferences.ts';
import { type Presets, slug } from './presets.ts';

/**
 * `atak`: ATAK, and anything that reads its data packages. `wintak`: the same inside another package. `itak`: flat.
 * `enroll`: without a key, for phones that ask port 8446 for their certificate. `plain`: TCP without any proof of who it is.
 */
export const VARIANTS = ['atak', 'wintak', 'itak', 'enroll', 'plain'] as const;
export type Variant = (typeof VARIANTS)[number];

/** Which box, and how the phone gets there. */
export interface Station {
  readonly name: string;
  readonly caPem: string;
  /** SHA-256 of the CA: two boxes may have one name, their files must not. */
  readonly caFingerprint: string;
  readonly host: string;
  readonly port: number;
  /** Where this box takes and gives files, for this sort of connection; undefined: nowhere. */
  readonly filesPort?: number | undefined;
}

export interface PackageOrder {
  readonly variant: Variant;
  readonly station: Station;
  /** The phone's name on our list. */
  readonly phone: string;
  readonly presets: Presets;
  /** Undefined with `enroll` and `plain`. */
  readonly client: ClientKey | undefined;
}

export interface Package {
  readonly fileName: string;
  readonly bytes: Buffer;
}

interface File {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Zip entries carry no time of their own, so that nothing depends on this box's clock: the first the format knows. */
const ZIP_TIME = new Date(1980, 0, 1, 12);

export async function makePackage(order: PackageOrder): Promise<Package> {
  const { variant, phone } = order;
  const box = boxSlug(order.station);
  const fileName = `${box}-${slug(phone)}${variant === 'itak' ? '-itak' : ''}.zip`;
  if (variant === 'itak') return { fileName, bytes: await flat(order, box) };
  const bytes = await dataPackage(order, box);
  return { fileName, bytes: variant === 'wintak' ? wrapped(order, fileName, bytes) : bytes };
}

/** Unique for each relay: WinTAK mixes up stores of the same name of two servers. */
export function boxSlug({ name, caFingerprint }: Pick<Station, 'name' | 'caFingerprint'>): string {
  return `${slug(name)}-${caFingerprint.slice(0, 6)}`;
}

/** The preferences that follow from presets alone. */
export function presetEntries({ callsign, team, role, report }: Presets): Entries {
  const entries: [string, string][] = [
    ['locationCallsign', callsign],
    ['locationTeam', team],
    ['atakRoleType', role],
    ...(report ? reportEntries(Number(report)) : []),
  ];
  return entries.filter(([, value]) => value !== '');
}

/** ATAK's own seconds between reports (ReportingRate): to a server ("reliable") and to a mesh; at speed, slow, standing, and at a constant rate. */
const REPORTING = {
  dynamicReportingRateMaxReliable: 2,
  dynamicReportingRateMinReliable: 20,
  dynamicReportingRateStationaryReliable: 180,
  constantReportingRateReliable: 15,
  dynamicReportingRateMaxUnreliable: 2,
  dynamicReportingRateMinUnreliable: 20,
  dynamicReportingRateStationaryUnreliable: 30,
  constantReportingRateUnreliable: 3,
} as const;

/** None of them sooner than every so many seconds. */
function reportEntries(seconds: number): [string, string][] {
  return Object.entries(REPORTING).map(([key, own]) => [key, String(Math.max(own, seconds))]);
}

/** The presets as a package of their own; undefined when there are none. For a phone that has enrolled. */
export function profilePackage(name: string, presets: Presets): Package | undefined {
  const entries = presetEntries(presets);
  if (entries.length === 0) return undefined;
  const pref = {
    name: `${slug(name)}-profile.pref`,
    bytes: text(prefFile([{ name: 'com.atakmap.app_preferences', entries }])),
  };
  return { fileName: `${slug(name)}-profile.zip`, bytes: zip([manifestOf(`${name} profile`, [pref]), pref]) };
}

interface Stores {
  readonly files: readonly File[];
  readonly caFile: string;
  readonly caPassword: string;
  readonly clientFile: string;
  readonly clientPassword: string;
}

/** The P12 files of an order; none for plain TCP. */
async function storesOf({ variant, station, phone, client }: PackageOrder, box: string): Promise<Stores | undefined> {
  if (variant === 'plain') return undefined;
  const caFile = `${box}-ca.p12`;
  const caPassword = password();
  const ca = { name: caFile, bytes: await trustP12(station.caPem, `${box}-ca`, caPassword) };
  if (!client) return { files: [ca], caFile, caPassword, clientFile: '', clientPassword: '' };
  const clientFile = `${box}-${slug(phone)}.p12`;
  const clientPassword = password();
  const own = { name: clientFile, bytes: await clientP12(client, slug(phone), clientPassword) };
  return { files: [ca, own], caFile, caPassword, clientFile, clientPassword };
}

/** MANIFEST/manifest.xml and everything else under certs/; the preferences say cert/, where ATAK puts it. */
async function dataPackage(order: PackageOrder, box: string): Promise<Buffer> {
  const stores = await storesOf(order, box);
  const keys: (readonly [string, string | boolean])[] = [];
  if (stores) keys.push(['caLocation0', `cert/${stores.caFile}`], ['caPassword0', stores.caPassword]);
  if (stores?.clientFile) {
    keys.push(['certificateLocation0', `cert/${stores.clientFile}`], ['clientPassword0', stores.clientPassword]);
  }
  if (order.variant === 'enroll') keys.push(['enrollForCertificateWithTrust0', true]);
  keys.push(['useAuth0', order.variant === 'enroll']);
  const pref = prefFile([
    { name: 'cot_streams', entries: [...streamOf(order), ...keys] },
    {
      name: 'com.atakmap.app_preferences',
      entries: [
        ['displayServerConnectionWidget', true],
        ...(order.variant === 'enroll' ? ([['deviceProfileEnableOnConnect', true]] as const) : []),
        ...filesEntries(order),
        ...presetEntries(order.presets),
      ],
    },
  ]);
  const files = [{ name: `${box}.pref`, bytes: text(pref) }, ...(stores?.files ?? [])].map(({ name, bytes }) => ({
    name: `certs/${name}`,
    bytes,
  }));
  return zip([manifestOf(order.station.name, files), ...files]);
}

/** iTAK: everything at the top, places of the stores without an index. */
async function flat(order: PackageOrder, box: string): Promise<Buffer> {
  const stores = (await storesOf(order, box))!;
  const pref = prefFile([
    { name: 'cot_streams', entries: streamOf(order) },
    {
      name: 'com.atakmap.app_preferences',
      entries: [
        ['displayServerConnectionWidget', true],
        ['caLocation', `cert/${stores.caFile}`],
        ['caPassword', stores.caPassword],
        ['certificateLocation', `cert/${stores.clientFile}`],
        ['clientPassword', stores.clientPassword],
        ...presetEntries(order.presets),
      ],
    },
  ]);
  const files = [{ name: 'config.pref', bytes: text(pref) }, ...stores.files];
  return zip([{ ...manifestOf(order.station.name, files), name: 'manifest.xml' }, ...files]);
}

function wrapped({ station }: PackageOrder, fileName: string, inner: Buffer): Buffer {
  const uid = randomUUID();
  const file = { name: `${uid}/${fileName}`, bytes: inner };
  return zip([manifestOf(station.name, [file]), file]);
}

function streamOf({ variant, station }: PackageOrder): Entries {
  const { host, port, name } = station;
  return [
    ['count', 1],
    ['description0', name],
    ['enabled0', true],
    ['connectString0', `${host}:${port}:${variant === 'plain' ? 'tcp' : 'ssl'}`],
  ];
}

/** ATAK has one port for files of all its servers (CotMapComponent): only where this box has another it is told. */
function filesEntries({ variant, station: { filesPort } }: PackageOrder): Entries {
  const [key, usual] = variant === 'plain' ? ['apiUnsecureServerPort', 8080] : ['apiSecureServerPort', 8443];
  return filesPort === undefined || filesPort === usual ? [] : [[key as string, String(filesPort)]];
}

function manifestOf(name: string, files: readonly File[]): File {
  const entries = files.map((file) => file.name);
  return { name: 'MANIFEST/manifest.xml', bytes: text(manifest(randomUUID(), name, entries)) };
}

/** Stored: keys do not shrink. Names are ours alone: letters, digits, dashes, one folder. */
function zip(files: readonly File[]): Buffer {
  const entries = Object.fromEntries(files.map(({ name, bytes }) => [name, bytes]));
  return Buffer.from(zipSync(entries, { level: 0, mtime: ZIP_TIME }));
}

function text(said: string): Buffer {
  return Buffer.from(said, 'utf8');
}

/** For one store of one package. Letters and digits only: it passes through XML, Java and people. */
export function password(): string {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789';
  return Array.from({ length: 20 }, () => letters[randomInt(letters.length)]).join('');
}
