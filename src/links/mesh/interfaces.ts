// The network interfaces a mesh link works on, as they come and go.

import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import { MAX_INTERFACES } from './limits.ts';

export interface Interface {
  readonly name: string;
  readonly address: string;
  readonly netmask: string;
}

/** Those named, or without names all but loopback; each with its first IPv4 address. */
export function presentInterfaces(wanted: readonly string[]): readonly Interface[] {
  return Object.entries(networkInterfaces())
    .flatMap(([name, addresses = []]) => {
      const found = addresses.find(({ family }) => family === 'IPv4');
      const taken = found && (wanted.length > 0 ? wanted.includes(name) : !found.internal);
      return taken ? [{ name, address: found.address, netmask: found.netmask }] : [];
    })
    .slice(0, MAX_INTERFACES);
}

/** Whether an address lies on the interface's network. */
export function onNetwork({ address, netmask }: Interface): (source: string) => boolean {
  const bits = netmask.split('.').reduce((sum, part) => sum + Number(part).toString(2).replaceAll('0', '').length, 0);
  const list = new BlockList();
  list.addSubnet(address, bits, 'ipv4');
  return (source) => list.check(source, 'ipv4');
}
