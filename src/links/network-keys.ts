// The section `networks` of the configuration: networks inside this box, and what crosses between them.
import * as z from 'zod';
import { MAIN_NETWORK, type NetworkEntry } from '../core/networks.ts';
import { networkName, policyKeys } from './policy-keys.ts';

const MAX_NETWORKS = 16;

/** Of a policy what can be asked where nothing is renamed and nothing remembered. */
const sideKeys = policyKeys.superRefine(({ rulesIn, rulesOut, maxHops, network }, context) => {
  const extra = [
    ...(rulesIn.length + rulesOut.length > 0 ? ['rules, filters and other names for groups'] : []),
    ...(maxHops >= 0 ? ['max_hops'] : []),
    ...(network === '' ? [] : ['network']),
  ];
  if (extra.length === 0) return;
  const message = `between networks of one box there are no ${extra.join(', no ')}: only in, out, dp_in, dp_out, types and groups`;
  context.addIssue({ code: 'custom', message });
});

const side = z
  .strictObject({
    name: networkName.describe('The other network.'),
    policy: sideKeys
      .nullish()
      .transform((value) => value ?? policyKeys.parse({}))
      .describe('What this one takes from it (in, dp_in) and gives it (out, dp_out). The other has a say of its own.'),
  })
  .describe('A network with which this one federates.');

const network = z.strictObject({
  name: networkName,
  peers: z
    .array(side)
    .max(MAX_NETWORKS)
    .nullish()
    .transform((value) => value ?? [])
    .describe('Networks with which it federates; naming it on one side is enough. None: nothing crosses.'),
});

export const networkList = z
  .array(network)
  .max(MAX_NETWORKS)
  .nullish()
  .transform((value): readonly NetworkEntry[] => value ?? [])
  .describe(
    `Networks inside this box: links and peers are in the one that their policy names, in ${MAIN_NETWORK} if it names none. What is said in one stays there, but for those it federates with.`,
  );

/** Why the list, or what links say of it, cannot be meant; with the place in the file. */
export function networkProblems(
  networks: readonly NetworkEntry[],
  used: readonly { readonly path: readonly (string | number)[]; readonly network: string }[],
): readonly { readonly path: readonly (string | number)[]; readonly words: string }[] {
  const names = [MAIN_NETWORK, ...networks.map(({ name }) => name)];
  const unknown = (name: string) => `there is no network "${name}"; there is ${[...new Set(names)].join(', ')}`;
  return [
    ...networks.flatMap(({ name, peers }, index) => {
      const before = networks.findIndex((other) => other.name === name);
      const place = ['networks', index];
      if (before < index) return [{ path: [...place, 'name'], words: `already the name of networks[${before}]` }];
      return peers.flatMap((peer, at) => {
        const path = [...place, 'peers', at, 'name'];
        if (peer.name === name) return [{ path, words: 'a network does not federate with itself' }];
        if (peers.findIndex((other) => other.name === peer.name) < at) return [{ path, words: 'named already' }];
        return names.includes(peer.name) ? [] : [{ path, words: unknown(peer.name) }];
      });
    }),
    ...used.flatMap(({ path, network: name }) =>
      name === '' || names.includes(name) ? [] : [{ path, words: unknown(name) }],
    ),
  ];
}
