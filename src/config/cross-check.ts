// What no single key can know: names given twice, ports that two listeners would fight over, services that are ourselves.
import { networkProblems } from '../links/network-keys.ts';
import { type Address, parseAddress } from '../links/stream.ts';
import { formatPath, type Path, type Problem } from './problem.ts';
import type { ParsedFile } from './schema.ts';
import type { YamlFile } from './yaml.ts';

/** Listeners compared with each other; a file with more has other problems. */
const MAX_LISTENERS = 1024;

interface Listener {
  readonly path: Path;
  readonly who: string;
  readonly address: Address;
}

/**
 * Checks the file as a whole. By convention a link's TCP listening addresses are its key `listen`: a port, `host:port`,
 * `{ host, port }`, or a list of these.
 * @param value the file as written
 * @param parsed with the kinds' defaults filled in; undefined when the file has other mistakes: then what is written counts
 */
export function crossCheck(file: YamlFile, value: unknown, parsed: ParsedFile | undefined): Problem[] {
  return [
    ...sameNames(file, value),
    ...samePorts(file, value, parsed),
    ...besides(file, value),
    ...resourceTrouble(file, parsed),
    ...networkTrouble(file, parsed),
    ...listenFromTrouble(file, value),
  ];
}

function sameNames(file: YamlFile, value: unknown): Problem[] {
  const first = new Map<string, number>();
  return rawLinks(value).flatMap((link, index) => {
    if (typeof link.name !== 'string') return [];
    const before = first.get(link.name);
    if (before === undefined) {
      first.set(link.name, index);
      return [];
    }
    const path = ['links', index, 'name'];
    const words = `already the name of links[${before}]; every link needs its own`;
    return [{ path: formatPath(path), ...file.placeOf(path), words }];
  });
}

function samePorts(file: YamlFile, value: unknown, parsed: ParsedFile | undefined): Problem[] {
  const all = (parsed ? parsedListeners(parsed) : rawListeners(value)).slice(0, MAX_LISTENERS);
  return all.flatMap((listener, index) => {
    const other = all.slice(0, index).find((before) => overlaps(before.address, listener.address));
    if (!other) return [];
    const words = `port ${listener.address.port} is already taken by ${other.who}`;
    return [{ path: formatPath(listener.path), ...file.placeOf(listener.path), words }];
  });
}

/** By convention a link that shares the ports of a listening link names it under `beside`; no two name the same. */
function besides(file: YamlFile, value: unknown): Problem[] {
  const links = rawLinks(value).map(
    (link, index) => ({ ...link, index }) as Record<string, unknown> & { index: number },
  );
  const standing = links.filter(({ beside, enabled }) => typeof beside === 'string' && enabled !== false);
  return standing.flatMap(({ beside, index }, nth) => {
    const path = ['links', index, 'beside'];
    const problem = (words: string) => [{ path: formatPath(path), ...file.placeOf(path), words }];
    const listener = links.find((link) => link.name === beside);
    if (!listener) return problem(`there is no link called "${beside}"`);
    if (listener.kind !== 'fed2' || listener.listen === undefined) {
      return problem(`"${beside}" is not a fed2 link that listens`);
    }
    if (listener.enabled === false) return problem(`"${beside}" is not enabled: give this link a port with listen`);
    const before = standing.slice(0, nth).find((other) => other.beside === beside);
    return before ? problem(`links[${before.index}] already stands beside "${beside}"`) : [];
  });
}

/** A path mapped twice, and a service that is this relay's own API: peers would do there what only this computer may. */
function resourceTrouble(file: YamlFile, parsed: ParsedFile | undefined): Problem[] {
  const entries = parsed?.resources ?? [];
  return entries.flatMap(({ path, to }, index) => {
    const before = entries.findIndex((other) => other.path === path);
    if (before < index) return [problemAt(file, index, 'path', `already mapped by resources[${before}]`)];
    const { listen, tls } = parsed!.api;
    const ours = [listen, ...(tls ? [tls] : [])];
    if (!to || !ours.some((address) => overlaps({ host: to.host, port: to.port }, address))) return [];
    return [problemAt(file, index, 'to', 'this is the relay itself; its API is not for peers')];
  });
}

/** Whom a link lets in that waits for nobody. */
function listenFromTrouble(file: YamlFile, value: unknown): Problem[] {
  return rawLinks(value).flatMap((link, index) => {
    if (link.listen_from === undefined || link.listen !== undefined) return [];
    const path = ['links', index, 'listen_from'];
    return [{ path: formatPath(path), ...file.placeOf(path), words: 'only with listen' }];
  });
}

/** By convention peers of a link that have a policy of their own stand under `peers`, with it under `policy`. */
function networkTrouble(file: YamlFile, parsed: ParsedFile | undefined): Problem[] {
  const used = (parsed?.links ?? []).flatMap(({ policy, settings }, index) => {
    const peers = (settings.peers ?? []) as readonly { readonly policy?: typeof policy }[];
    const own = peers.map((peer, at) => ({ path: ['peers', at], network: peer.policy?.network ?? '' }));
    return [{ path: [], network: policy.network }, ...own].map(({ path, network }) => ({
      path: ['links', index, ...path, 'policy', 'network'],
      network,
    }));
  });
  return networkProblems(parsed?.networks ?? [], used).map(({ path, words }) => ({
    path: formatPath(path),
    ...file.placeOf(path),
    words,
  }));
}

function problemAt(file: YamlFile, index: number, key: string, words: string): Problem {
  const path = ['resources', index, key];
  return { path: formatPath(path), ...file.placeOf(path), words };
}

function parsedListeners({ api, files, links }: ParsedFile): Listener[] {
  const ours = [
    ownListener('api', 'listen', api.listen),
    ownListener('api', 'tls', api.tls),
    ownListener('api', 'enroll', api.enroll),
    ownListener('files', 'listen', files.listen),
    ownListener('files', 'tls', files.tls),
    ownListener('files', 'federates', files.federates),
  ];
  return [...ours.flat(), ...links.flatMap((link, index) => linkListeners(link, link.settings.listen, index))];
}

/** @param address undefined: it is off */
function ownListener(section: string, key: string, address: Address | undefined): Listener[] {
  return address ? [{ path: [section, key], who: `${section}.${key}`, address }] : [];
}

function rawListeners(value: unknown): Listener[] {
  return rawLinks(value).flatMap((link, index) => linkListeners(link, link.listen, index));
}

function linkListeners(
  link: { readonly name?: unknown; readonly enabled?: unknown },
  listen: unknown,
  index: number,
): Listener[] {
  if (link.enabled === false) return [];
  const who = typeof link.name === 'string' ? `link "${link.name}"` : `links[${index}]`;
  return addressesIn(listen).map((address) => ({ path: ['links', index, 'listen'], who, address }));
}

function addressesIn(listen: unknown): Address[] {
  if (Array.isArray(listen)) return listen.flatMap(addressesIn);
  if (typeof listen === 'number') return [{ host: '', port: listen }];
  if (typeof listen === 'string') {
    const address = parseAddress(listen);
    return address ? [address] : [];
  }
  if (typeof listen !== 'object' || listen === null) return [];
  const { host = '', port } = listen as { host?: unknown; port?: unknown };
  return typeof host === 'string' && typeof port === 'number' ? [{ host, port }] : [];
}

/** Port 0 is any free port and never taken. */
function overlaps(a: Address, b: Address): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  const [one, two] = [plainHost(a.host), plainHost(b.host)];
  return one === '' || two === '' || one === two;
}

/** '' for every address. */
function plainHost(host: string): string {
  if (host === '0.0.0.0' || host === '::' || host === '*') return '';
  return host === 'localhost' ? '127.0.0.1' : host.toLowerCase();
}

/** The `links` as written, as far as they are sections; others keep their place as empty ones. */
function rawLinks(value: unknown): Record<string, unknown>[] {
  const links = (value as { links?: unknown } | null)?.links;
  if (!Array.isArray(links)) return [];
  return links.map((link) => (typeof link === 'object' && link !== null ? (link as Record<string, unknown>) : {}));
}
