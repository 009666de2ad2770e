// Where a link listens, or whom it dials.
import { isIP } from 'node:net';
import type { Via } from './via.ts';

/** Finds a peer that vanished without a word, and keeps NAT mappings alive (shortest seen: 30 s). */
export const KEEPALIVE_MS = 25_000;

export interface Address {
  /** '' in a listener: every address, IPv6 and IPv4. */
  readonly host: string;
  readonly port: number;
  /** Dialled through this tunnel: host and port then are only what it is called. */
  readonly via?: Via | undefined;
}

export function formatAddress({ host, port }: Address): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `host:port`, `[v6]:port`, or a port alone (host ''); undefined when it is none of these. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:(?:\[([0-9a-fA-F:.]{2,45})\]|([^\s:[\]/]{0,253})):)?(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const port = Number(match[3]);
  return port <= 65_535 ? { host: match[1] ?? match[2] ?? '', port } : undefined;
}
