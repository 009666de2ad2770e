// Peers of the portal link, as edits of the file: one more, another key for one that is there, one less.
import type { Edit } from './edit.ts';
import { linksOf, type Section } from './links-edit.ts';

/** Names that mean something else in a portal link. */
const TAKEN: readonly string[] = ['direct', 'portal'];

/** The portal link, one that listens before others. */
export function portalLink(file: string): Section | undefined {
  const links = linksOf(file).filter(({ kind }) => kind === 'portal');
  return links.find(({ listen }) => listen !== undefined) ?? links[0];
}

export function portalPeers(link: Section): readonly Section[] {
  return Array.isArray(link.peers) ? (link.peers as readonly Section[]) : [];
}

export function portalPeerByPin(link: Section, pin: string): Section | undefined {
  return portalPeers(link).find((peer) => plainPin(peer.pin) === pin);
}

/** A name the link takes: lower case, and one that is free. */
export function portalPeerName(link: Section | undefined, wanted: string): string {
  const plain = wanted
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .replace(/-+$/, '');
  const base = plain.slice(0, 28) || 'relay';
  const taken = [...TAKEN, ...(link ? portalPeers(link) : []).map(({ name }) => name)];
  for (let count = 1; ; count++) {
    const candidate = count === 1 ? base : `${base}-${count}`;
    if (!taken.includes(candidate)) return candidate;
  }
}

/** Adds the peer, or replaces what the entry with its name says. */
export function putPortalPeer(file: string, link: string, peer: Section): Edit[] {
  const [at, entry] = placeOf(file, link);
  const index = portalPeers(entry).findIndex(({ name }) => name === peer.name);
  if (index < 0) return [{ op: 'add', path: [...at, 'peers'], value: peer }];
  const known = portalPeers(entry)[index]!;
  const gone = ['federation_key', 'federation_key_file'].filter((key) => key in known && !(key in peer));
  return [
    ...gone.map((key): Edit => ({ op: 'delete', path: [...at, 'peers', index, key] })),
    ...Object.entries(peer).map(([key, value]): Edit => ({ op: 'set', path: [...at, 'peers', index, key], value })),
  ];
}

export function removePortalPeer(file: string, link: string, name: string): Edit[] {
  const [at, entry] = placeOf(file, link);
  const index = portalPeers(entry).findIndex((peer) => peer.name === name);
  return index < 0 ? [] : [{ op: 'delete', path: [...at, 'peers', index] }];
}

function placeOf(file: string, link: string): readonly [readonly (string | number)[], Section] {
  const links = linksOf(file);
  const index = links.findIndex(({ name }) => name === link);
  return [['links', index], links[index] ?? {}];
}

function plainPin(pin: unknown): string {
  return String(pin)
    .replace(/^sha-?256:/i, '')
    .replaceAll(':', '')
    .trim()
    .toLowerCase();
}
