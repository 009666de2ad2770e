// The keys of a `mesh` link in the configuration file.
import { isIPv4 } from 'node:net';
import * as z from 'zod';
import { type Address, parseAddress } from '../stream.ts';
import { MAX_DATAGRAM_BYTES, MAX_INTERFACES } from './limits.ts';

/** Of ATAK, WinTAK and iTAK (CotService.java, ChatManagerMapComponent.java). */
const SA_GROUP = '239.2.3.1:6969';
const CHAT_GROUP = '224.10.10.1:17012';
const MAX_MORE = 8;

const group = z
  .string()
  .max(64)
  .transform((text, context): Address => {
    const address = parseAddress(text);
    const good = address && address.port > 0 && isMulticast(address.host);
    if (!good)
      context.issues.push({ code: 'custom', message: `expected a multicast group such as ${SA_GROUP}`, input: text });
    return address ?? { host: '', port: 0 };
  });

export const meshSchema = z
  .strictObject({
    interfaces: z
      .array(z.string().regex(/^[^\s/\p{C}]{1,15}$/u, 'expected the name of a network interface such as wlan0'))
      .max(MAX_INTERFACES)
      .default([])
      .describe('Network interfaces of the mesh. Default: every one with an IPv4 address, but loopback.'),
    sa: group.prefault(SA_GROUP).describe('Multicast group of positions and all that is not chat.'),
    chat: group.prefault(CHAT_GROUP).describe('Multicast group of chat.'),
    more: z
      .array(group)
      .max(MAX_MORE)
      .default([])
      .describe('Further groups that are only listened to, such as 239.5.5.55:7171.'),
    udp: z
      .array(z.int().min(1).max(65_535))
      .max(MAX_MORE)
      .default([])
      .describe('UDP ports for events that sensors and gateways send to this box alone, such as 4242.'),
    protocol: z
      .enum(['xml', 'auto'])
      .default('xml')
      .describe('auto: TAK protobuf while every device heard here can read it. Some clients have trouble with it.'),
    direct: z
      .boolean()
      .default(true)
      .describe('Messages to one device go to it by TCP or UDP, at the address it says and sends from; else nowhere.'),
    ttl: z.int().min(1).max(255).default(1).describe('How many routers a datagram may pass, plus one.'),
    max_event_bytes: z
      .int()
      .min(1_024)
      .max(MAX_DATAGRAM_BYTES)
      .default(MAX_DATAGRAM_BYTES)
      .describe('Largest datagram.'),
    max_per_second: z
      .int()
      .min(1)
      .max(100_000)
      .default(1_000)
      .describe('Datagrams of one interface that are read in a second; the rest are counted as rate_limited.'),
  })
  .transform(({ max_event_bytes, max_per_second, ...rest }) => ({
    ...rest,
    maxEventBytes: max_event_bytes,
    maxPerSecond: max_per_second,
  }));

export type MeshConfig = z.output<typeof meshSchema>;

function isMulticast(host: string): boolean {
  const first = Number(host.split('.', 1)[0]);
  return isIPv4(host) && first >= 224 && first <= 239;
}
