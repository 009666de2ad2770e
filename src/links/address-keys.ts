// Addresses in the configuration of links, as zod transforms of a text: where to listen, and whom to dial.
import * as z from 'zod';
import { type Address, parseAddress } from './stream.ts';

/** A port, or an address and port. */
export function listenAddress(example: string) {
  return addressBy(() => true, `expected a port, or an address and port such as ${example}`);
}

/** A host and a port, both said. */
export function dialAddress(example: string) {
  return addressBy(({ host, port }) => host !== '' && port > 0, `expected a host and port such as ${example}`);
}

function addressBy(good: (address: Address) => boolean, message: string) {
  return (value: string | number, context: z.core.$RefinementCtx<string | number>): Address => {
    const address = parseAddress(String(value));
    if (address && good(address)) return address;
    context.issues.push({ code: 'custom', message, input: value });
    return z.NEVER;
  };
}
