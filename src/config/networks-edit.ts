// Networks inside the box, as edits of the file: who federates with whom, and what each side takes and gives.
import { type Edit, textValue } from './edit.ts';
import type { Section } from './links-edit.ts';
import { ConfigRefused } from './refused.ts';

/** The network of what names none; it need not stand in the file. */
export const MAIN = 'main';

/** Entries of `networks` as written. */
export function networksOf(text: string): readonly Section[] {
  const { networks } = textValue(text) as { networks?: unknown };
  return Array.isArray(networks)
    ? networks.filter((one): one is Section => typeof one === 'object' && one !== null)
    : [];
}

export function networkPeers(entry: Section | undefined): readonly Section[] {
  return Array.isArray(entry?.peers) ? (entry.peers as readonly Section[]) : [];
}

/** Whether two networks federate: it is enough that one names the other. */
export function federate(text: string, name: string, other: string): boolean {
  const names = (of: string, whom: string) =>
    networkPeers(networksOf(text).find((one) => one.name === of)).some((peer) => peer.name === whom);
  return names(name, other) || names(other, name);
}

/** What `name` takes from the other network and gives it; they federate from now on. @throws ConfigRefused */
export function putNetworkPeer(text: string, name: string, other: string, ways: Section): Edit[] {
  for (const one of [name, other]) mustBe(text, one);
  if (name === other)
    throw new ConfigRefused('same_network', `${name} does not federate with itself`, 'name two networks');
  const index = networksOf(text).findIndex((one) => one.name === name);
  if (index < 0) return [{ op: 'add', path: ['networks'], value: { name, peers: [{ name: other, policy: ways }] } }];
  const at = networkPeers(networksOf(text)[index]).findIndex((peer) => peer.name === other);
  if (at < 0) return [{ op: 'add', path: ['networks', index, 'peers'], value: { name: other, policy: ways } }];
  const known = (networkPeers(networksOf(text)[index])[at]!.policy ?? {}) as Section;
  return [{ op: 'set', path: ['networks', index, 'peers', at, 'policy'], value: { ...known, ...ways } }];
}

/** They no longer federate, whichever side says so. */
export function removeNetworkPair(text: string, name: string, other: string): Edit[] {
  for (const one of [name, other]) mustBe(text, one);
  return networksOf(text).flatMap((entry, index) => {
    const whom = entry.name === name ? other : entry.name === other ? name : undefined;
    const at = networkPeers(entry).findIndex((peer) => peer.name === whom);
    return at < 0 ? [] : [{ op: 'delete' as const, path: ['networks', index, 'peers', at] }];
  });
}

function mustBe(text: string, name: string): void {
  const names = [MAIN, ...networksOf(text).map((one) => String(one.name))];
  if (names.includes(name)) return;
  const fix = `there is ${[...new Set(names)].join(', ')}; networks: in the configuration names them`;
  throw new ConfigRefused('unknown_network', `there is no network ${JSON.stringify(name.slice(0, 32))}`, fix);
}
