// An ATAK, as far as joining and staying goes: follows the link of a QR code, imports the package by ATAK's rules, connects with what
// is in it and nothing else, pings when it hears nothing, hangs up after 25 s of silence. Knows nothing of src/.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, normalize } from 'node:path';
import type { TestContext } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { PATIENCE_MS, Phone } from './cot-client.ts';

/** commoncommo streamingsocketmanagement: ping after, and again every, and dead after. */
const PING_AFTER_MS = 15_000;
const PING_EVERY_MS = 4_500;
const DEAD_AFTER_MS = 25_000;
const MAX_MESSAGE = 65_536;

/** What ATAK keeps after an import: enough for a cold start. */
export interface Imported {
  readonly host: string;
  readonly port: number;
  readonly proto: string;
  readonly callsign: string;
  readonly team: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** `tak://com.atakmap.app/import?url=…`, fetched and imported. */
export async function importFromQr(t: Pick<TestContext, 'after'>, text: string): Promise<Imported> {
  const link = new URL(text);
  assert.equal(`${link.protocol}//${link.host}${link.pathname}`, 'tak://com.atakmap.app/import');
  const url = new URL(link.searchParams.get('url') ?? '');
  assert.match(url.pathname, /\.(zip|dpk)$/, 'ATAK goes by the ending');
  const response = await fetch(url);
  assert.equal(response.status, 200, await response.clone().text());
  return importPackage(t, Buffer.from(await response.arrayBuffer()));
}

/** `tak://com.atakmap.app/preference?key1=…&type1=…&value1=…`, numbered from 1 without a gap, as ATAK takes it over. */
export function preferencesFromQr(text: string): Map<string, string> {
  const link = new URL(text);
  assert.equal(`${link.protocol}//${link.host}${link.pathname}`, 'tak://com.atakmap.app/preference');
  const found = new Map<string, string>();
  for (let n = 1; link.searchParams.has(`key${n}`); n++) {
    assert.equal(link.searchParams.get(`type${n}`), 'string');
    found.set(link.searchParams.get(`key${n}`)!, link.searchParams.get(`value${n}`)!);
  }
  return found;
}

/** Unpacks, reads manifest and preferences, and opens the stores. */
export function importPackage(t: Pick<TestContext, 'after'>, zip: Buffer): Imported {
  const folder = mkdtempSync(join(tmpdir(), 'ws-atak-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'package.zip'), zip);
  execFileSync('unzip', ['-qq', join(folder, 'package.zip'), '-d', join(folder, 'in')]);
  const manifest = readFileSync(join(folder, 'in/MANIFEST/manifest.xml'), 'utf8');
  const entries = [...manifest.matchAll(/<Content ignore="false" zipEntry="([^"]+)"\/>/g)].map(([, name]) => name!);
  assert.ok(entries.length > 0);
  // Stores go to ATAK's cert folder, by their bare names.
  mkdirSync(join(folder, 'cert'));
  for (const entry of entries) {
    assert.equal(normalize(entry), entry);
    const bytes = readFileSync(join(folder, 'in', entry));
    if (entry.endsWith('.p12')) writeFileSync(join(folder, 'cert', basename(entry)), bytes, { flag: 'wx' });
  }
  const pref = prefs(readFileSync(join(folder, 'in', entries.find((name) => name.endsWith('.pref'))!), 'utf8'));
  assert.equal(pref.get('count'), '1');
  assert.equal(pref.get('enabled0'), 'true');
  const [host = '', port = '', proto = ''] = pref.get('connectString0')!.split(':');
  const open = (place: string, password: string, ...more: string[]) => {
    const path = pref.get(place)!;
    assert.match(path, /^cert\/[^/]+\.p12$/, 'relative, or it is lost at the next cold start');
    const args = [
      'pkcs12',
      '-legacy',
      '-nodes',
      '-in',
      join(folder, path),
      '-passin',
      `pass:${pref.get(password)}`,
      ...more,
    ];
    return execFileSync('openssl', args, { encoding: 'utf8' });
  };
  assert.ok(readdirSync(join(folder, 'cert')).length >= 2);
  return {
    host,
    port: Number(port),
    proto,
    callsign: pref.get('locationCallsign') ?? 'ATAK',
    team: pref.get('locationTeam') ?? 'Cyan',
    ca: open('caLocation0', 'caPassword0', '-nokeys'),
    cert: open('certificateLocation0', 'clientPassword0', '-nokeys', '-clcerts'),
    key: open('certificateLocation0', 'clientPassword0', '-nocerts'),
  };
}

function prefs(xml: string): Map<string, string> {
  const text = (value: string) =>
    value.replace(/&(?:#(\d+)|(\w+));/g, (_, code?: string, name?: string) =>
      code ? String.fromCodePoint(Number(code)) : { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }[name!]!,
    );
  return new Map(
    [...xml.matchAll(/<entry key="([^"]+)" class="class java\.lang\.\w+">([^<]*)</g)].map(([, key, value]) => [
      key!,
      text(value!),
    ]),
  );
}

export class Atak extends Phone {
  readonly uid: string;
  readonly settings: Imported;
  readonly #socket: TLSSocket;
  #heardMs = Date.now();
  #pings: NodeJS.Timeout;

  constructor(socket: TLSSocket, settings: Imported, uid: string) {
    super(socket);
    this.#socket = socket;
    this.settings = settings;
    this.uid = uid;
    let largest = 0;
    socket.on('data', (chunk: Buffer) => {
      this.#heardMs = Date.now();
      largest = Math.max(largest, chunk.length);
      assert.ok(largest <= MAX_MESSAGE);
    });
    let pingedMs = 0;
    this.#pings = setInterval(() => {
      const silentMs = Date.now() - this.#heardMs;
      if (silentMs > DEAD_AFTER_MS) return this.close();
      if (silentMs < PING_AFTER_MS || Date.now() - pingedMs < PING_EVERY_MS) return;
      pingedMs = Date.now();
      this.send(ping(uid));
    }, 500);
    socket.on('close', () => clearInterval(this.#pings));
  }

  /** The peer's certificate, as checked against the truststore. */
  get authorized(): boolean {
    return this.#socket.authorized;
  }

  async untilClosed(): Promise<number> {
    const begun = Date.now();
    while (!this.closed) {
      assert.ok(Date.now() - begun < PATIENCE_MS, 'still connected');
      await new Promise((done) => setTimeout(done, 10));
    }
    return Date.now() - begun;
  }
}

/** A cold start with what was imported: the chain is checked, the name is not. Rejects when it is turned away. */
export async function startAtak(t: Pick<TestContext, 'after'>, settings: Imported, uid: string): Promise<Atak> {
  assert.equal(settings.proto, 'ssl');
  const { host, port, cert, key, ca } = settings;
  const socket = connect({ host, port, cert, key, ca, checkServerIdentity: () => undefined });
  t.after(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', () => resolve());
    socket.once('error', reject);
  });
  const atak = new Atak(socket, settings, uid);
  atak.announce(uid, settings.callsign);
  return atak;
}

function ping(uid: string): string {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  return `<event version="2.0" uid="${uid}-ping" type="t-x-c-t" how="m-g" time="${at(0)}" start="${at(0)}" stale="${at(10_000)}"><point lat="0" lon="0" hae="0" ce="9999999" le="9999999"/><detail/></event>`;
}
