// The whole configuration file as one zod type, built from the link kinds it may hold. Strict everywhere: what is not
// written here is a mistake. Cross-references between links are checked in load.ts, where lines are known.
import { isIP } from 'node:net';
import * as z from 'zod';
import { parseNetwork } from '../lib/address.ts';
import { budgetKeys } from '../links/budget-keys.ts';
import type { LinkKind } from '../links/link.ts';
import { networkList } from '../links/network-keys.ts';
import { policyKeys } from '../links/policy-keys.ts';
import type { LinkEntry } from '../links/runner.ts';
import { type Address, parseAddress } from '../links/stream.ts';
import { type FilesSettings, files } from './files.ts';
import { type RecorderSettings, recorder } from './recorder.ts';
import { type ResourceEntry, resources } from './resources.ts';
import { type TelemetryConfig, telemetry } from './telemetry.ts';
import { CONFIG_VERSION } from './upgrade.ts';

/** Most entries of `links`. */
export const MAX_LINKS = 64;
/** Most entries of any other list: trust, hosts, types, groups. */
export const MAX_LIST = 256;
/** Most entries of `revoked`. */
export const MAX_REVOKED = 1000;
/** Longest text of any of our own keys. */
export const MAX_TEXT = 1024;
export const DEFAULT_API_PORT = 8080;

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

type Kinds = readonly LinkKind<unknown>[];

/** Whom we accept, as written: files and folders of CA certificates, and SHA-256 pins in lower hex without colons. */
export interface TrustSettings {
  readonly paths: readonly string[];
  readonly pins: readonly string[];
}

/** Where the page and the API are served. */
export interface ApiSettings {
  /** Plain HTTP: to look, not to change. */
  readonly listen: Address;
  /** Networks whose addresses may connect there; empty: all. */
  readonly listenFrom: readonly string[];
  /** HTTPS, for logins and changes; undefined: none. */
  readonly tls: Address | undefined;
  readonly tlsFrom: readonly string[];
  /** HTTPS where phones enrol with a code; undefined: nowhere. */
  readonly enroll: Address | undefined;
}

/** The checked file, with defaults filled in. Paths are absolute once load.ts has returned it. */
export interface Config {
  readonly version: number;
  /** What peers call this box. */
  readonly name: string;
  /** Folder of keys, certificates and the store. */
  readonly data: string;
  readonly log: { readonly level: (typeof LOG_LEVELS)[number] };
  readonly api: ApiSettings;
  readonly trust: TrustSettings;
  /** Whom nobody may trust any more: files are revocation lists of authorities. */
  readonly revoked: TrustSettings;
  /** Names and addresses for our certificates; undefined: find them. */
  readonly hosts: readonly string[] | undefined;
  readonly limits: {
    readonly queue: LinkEntry['queue'];
    readonly outbox: { readonly bytes: number; readonly hours: number };
  };
  /** What peers may ask of this relay beyond the closed list. */
  readonly resources: readonly ResourceEntry[];
  readonly telemetry: TelemetryConfig;
  readonly files: FilesSettings;
  readonly recorder: RecorderSettings;
  /** Networks inside this box; none: it is one. */
  readonly networks: ReturnType<typeof networkList.parse>;
  readonly links: readonly LinkEntry[];
}

const text = z.string().min(1).max(MAX_TEXT);

/** A section may be left empty (all its lines commented out): that means its defaults. */
function section<Schema extends z.ZodObject>(schema: Schema) {
  return schema.nullish().transform((value): z.output<Schema> => value ?? (schema.parse({}) as z.output<Schema>));
}

const name = z
  .string()
  .regex(/^[^\p{C}]{1,64}$/u, 'expected a name of 1 to 64 characters')
  .describe('What peers call this box. Default: its host name.');

const linkName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,31}$/, 'expected 1 to 32 of a-z 0-9 . _ - beginning with a letter or digit')
  .describe('Name of the link: unique, shown everywhere, part of its peers’ names.');

const queueEvents = z.int().min(16).max(1_000_000).describe('Most events waiting for one peer.');
const queueBytes = z.int().min(65_536).max(1_073_741_824).describe('Most bytes waiting for one peer.');

/** Same figures as QUEUE_LIMITS in core/queue.ts (test/config/schema.test.ts keeps them equal). */
const limitsQueue = z.strictObject({
  events: queueEvents.default(4096),
  bytes: queueBytes.default(4 * 1024 * 1024),
});

/** Same figures as OUTBOX_LIMITS in core/outbox.ts (test/config/schema.test.ts keeps them equal). */
const limitsOutbox = z.strictObject({
  bytes: z.int().min(65_536).max(1_000_000_000).default(10_000_000).describe('Most bytes kept for one peer.'),
  hours: z.number().min(0.1).max(168).default(24).describe('Nothing is kept longer.'),
});

const limits = z.strictObject({
  queue: section(limitsQueue).describe('Queue of every peer, unless its link has its own.'),
  outbox: section(limitsOutbox).describe(
    'Alerts, chat and markers kept on disk for each federate or relay that is away.',
  ),
});

/** `host:port`, `[v6]:port`, or a port: of the loopback address. Port 0 lets the system choose. */
const apiAddress = z
  .union([z.int().min(0).max(65_535), z.string().max(MAX_TEXT)])
  .transform((value, context): Address => {
    const address = parseAddress(/^\d+$/.test(String(value)) ? `127.0.0.1:${value}` : String(value));
    if (address) return address;
    const message = 'expected an address and port such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address';
    context.issues.push({ code: 'custom', message, input: value });
    return { host: '127.0.0.1', port: 0 };
  });

const networks = z
  .array(
    z
      .string()
      .refine((value) => parseNetwork(value) !== undefined, 'expected an address, or a network such as 10.0.0.0/8'),
  )
  .max(MAX_LIST)
  .nullish()
  .transform((value) => value ?? []);

const api = z
  .strictObject({
    listen: apiAddress
      .prefault(DEFAULT_API_PORT)
      .describe('Plain HTTP: status page and API to look at. A port alone means this computer only.'),
    listen_from: networks.describe('Only these addresses may connect to listen. Empty: all.'),
    tls: z
      .union([z.literal(false), apiAddress])
      .default(false)
      .describe('HTTPS, for logins and changes, such as 0.0.0.0:8443. false: none.'),
    tls_from: networks.describe('Only these addresses may connect to tls. Empty: all.'),
    enroll: z
      .union([z.literal(false), apiAddress])
      .default(false)
      .describe('HTTPS where phones enrol with a one-time code, such as 0.0.0.0:8446. false: nowhere.'),
  })
  .transform(
    (raw): ApiSettings => ({
      listen: raw.listen,
      listenFrom: raw.listen_from,
      tls: raw.tls === false ? undefined : raw.tls,
      tlsFrom: raw.tls_from,
      enroll: raw.enroll === false ? undefined : raw.enroll,
    }),
  );

const trustItem = text.transform((value, context): { readonly path: string } | { readonly pin: string } => {
  const pin = parsePin(value);
  if (pin === undefined) return { path: value };
  if (pin === '') {
    context.issues.push({ code: 'custom', message: 'a pin is SHA256: and 64 hexadecimal digits', input: value });
  }
  return { pin };
});

function sorted(items: readonly z.output<typeof trustItem>[] | null | undefined): TrustSettings {
  return {
    paths: (items ?? []).flatMap((item) => ('path' in item ? [item.path] : [])),
    pins: (items ?? []).flatMap((item) => ('pin' in item ? [item.pin] : [])),
  };
}

const revoked = z
  .array(trustItem)
  .max(MAX_REVOKED)
  .nullish()
  .transform(sorted)
  .describe('Whom no link accepts as a federate any more: SHA256: fingerprints, and CRL files of authorities.');

const trust = z
  .array(trustItem)
  .max(MAX_LIST)
  .nullish()
  .transform(sorted)
  .describe('Who may federate: CA certificate files, folders of them, or SHA256: pins. Relative to this file.');

const host = z
  .string()
  .refine((value) => isIP(value) > 0 || isHostName(value), 'expected a host name or an IP address, without port');

/** Keys every kind of link has. */
function commonKeys({ kind, policy = policyKeys }: LinkKind<unknown>) {
  return z.strictObject({
    name: linkName,
    kind: z.literal(kind),
    label: z
      .string()
      .regex(/^[^\p{C}]{1,64}$/u, 'expected 1 to 64 characters')
      .optional()
      .describe('What programs of other makes call it; the name, if left out.'),
    enabled: z.boolean().default(true).describe('false: keep the link in the file but do not run it.'),
    listen_from: networks.describe('listen: only these addresses and networks may connect. Empty: all.'),
    policy: policy.nullish().transform((value) => value ?? policy.parse({})),
    queue: z
      .strictObject({ events: queueEvents.optional(), bytes: queueBytes.optional() })
      .nullish()
      .transform((value) => value ?? {})
      .describe('Queue of each of its peers. Default: limits.queue.'),
    budget: budgetKeys
      .nullish()
      .transform((value) => value ?? budgetKeys.parse({}))
      .describe('What the line may cost, all peers of the link together. Default: no limit.'),
  });
}

function linkSchema(kind: LinkKind<unknown>) {
  return z
    .looseObject({ kind: z.literal(kind.kind) })
    .pipe(z.intersection(commonKeys(kind), kind.schema as z.ZodType<Record<string, unknown>>))
    .transform(({ name, kind, label: _, enabled, listen_from: listenFrom, policy, queue, budget, ...settings }) => ({
      name,
      kind,
      enabled,
      listenFrom,
      policy,
      queue,
      budget,
      settings,
    }));
}

type LinkSchema = ReturnType<typeof linkSchema>;

function fileSchemaOf(links: readonly LinkSchema[]) {
  return z.strictObject({
    version: z.literal(CONFIG_VERSION).default(CONFIG_VERSION).describe('Version of this file’s format.'),
    name: name.optional(),
    data: text.optional().describe('Folder for keys and state. WAYSTATION_DATA wins over it.'),
    log: section(z.strictObject({ level: z.enum(LOG_LEVELS).default('info') })),
    api: api.nullish().transform((value) => value ?? api.parse({})),
    trust,
    revoked,
    hosts: z
      .array(host)
      .max(MAX_LIST)
      .nullish()
      .transform((value) => value ?? undefined)
      .describe('Names and addresses put into our certificates. Default: found by itself.'),
    limits: section(limits),
    resources,
    telemetry,
    files: files.nullish().transform((value) => value ?? files.parse({})),
    recorder: recorder.nullish().transform((value) => value ?? recorder.parse({})),
    networks: networkList,
    links: z
      .array(z.discriminatedUnion('kind', links as [LinkSchema, ...LinkSchema[]]))
      .max(MAX_LINKS)
      .nullish()
      .transform((value) => value ?? []),
  });
}

/** The file's zod type. A kind's own schema must be strict, or its unknown keys would pass unseen. */
export function fileSchema(kinds: Kinds) {
  return fileSchemaOf(kinds.map(linkSchema));
}

/** What fileSchema() returns for a good file: still without host name, data folder and absolute paths. */
export type ParsedFile = z.output<ReturnType<typeof fileSchema>>;

/** A JSON Schema node, as far as we look at it. */
export interface JsonSchema {
  type?: string | string[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  enum?: unknown[];
  const?: unknown;
  minimum?: number;
  maximum?: number;
  additionalProperties?: unknown;
  [key: string]: unknown;
}

/** JSON Schema 2020-12 of the file, for editors; our own words about mistakes are made from it too. */
export function jsonSchema(kinds: Kinds): JsonSchema {
  const links = kinds.map(linkSchema);
  const schema = z.toJSONSchema(fileSchemaOf(links), {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const index = (links as readonly unknown[]).indexOf(zodSchema);
      if (index >= 0) Object.assign(jsonSchema, linkJson(kinds[index]!));
    },
  }) as JsonSchema;
  return { title: 'Waystation configuration', ...schema };
}

function linkJson(kind: LinkKind<unknown>): JsonSchema {
  const toJson = (schema: z.ZodType) => {
    const { $schema: _, ...json } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    return json as JsonSchema;
  };
  return mergeObjects(toJson(commonKeys(kind)), toJson(kind.schema));
}

/** Two object schemas as one; a kind whose schema is a choice of objects becomes a choice of merged ones. */
function mergeObjects(common: JsonSchema, own: JsonSchema): JsonSchema {
  for (const choice of ['anyOf', 'oneOf'] as const) {
    if (own[choice]) return { [choice]: own[choice].map((branch) => mergeObjects(common, branch)) };
  }
  return {
    ...own,
    properties: { ...common.properties, ...own.properties },
    required: [...(common.required ?? []), ...(own.required ?? [])],
    additionalProperties: false,
  };
}

/** Lower hex of a pin, '' for something meant as one but broken, undefined for anything else. */
function parsePin(value: string): string | undefined {
  const digits = /^sha-?256:(.*)$/i.exec(value)?.[1];
  const hex = (digits ?? value).replaceAll(':', '').trim().toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  return digits === undefined ? undefined : '';
}

function isHostName(value: string): boolean {
  return value.length <= 253 && value.split('.').every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label));
}
