// What we say of ourselves when a connection begins: HTTP/2 settings, Subscription, groups, health. Framed, ready to write.
import type { ServerSessionOptions, Settings } from 'node:http2';
import {
  CONNECTION_TYPE,
  clientHealth,
  groupsMessage,
  SERVING,
  serverHealth,
  subscription,
} from '../../wire/federation.ts';
import type { LinkContext, Node } from '../link.ts';
import type { Fed2Config } from './config.ts';
import { frame } from './grpc.ts';
import {
  MAX_HEADER_BYTES,
  MAX_HEADERS,
  MAX_STREAMS,
  RESET_BURST,
  RESET_PER_SECOND,
  STREAM_WINDOW_BYTES,
} from './limits.ts';

export const SETTINGS: Settings = {
  enablePush: false,
  initialWindowSize: STREAM_WINDOW_BYTES,
  maxConcurrentStreams: MAX_STREAMS,
  maxHeaderListSize: MAX_HEADER_BYTES,
};

/** Documented for createServer only; every session takes them (test/links/fed2/server.test.ts would tell). */
type SessionCounters = 'maxSessionInvalidFrames' | 'maxSessionRejectedStreams';

/** A peer's floods of settings, pings, refused and cancelled streams end its connection (node:http2 and nghttp2 count them). */
export const HTTP2_LIMITS: ServerSessionOptions & Readonly<Record<SessionCounters, number>> = {
  settings: SETTINGS,
  maxHeaderListPairs: MAX_HEADERS,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  streamResetBurst: RESET_BURST,
  streamResetRate: RESET_PER_SECOND,
};

export const CLIENT_HEALTH = frame(clientHealth(SERVING.serving));
export const SERVER_HEALTH = frame(serverHealth(SERVING.serving));

const TYPES = {
  tak: { client: CONNECTION_TYPE.takClient, server: CONNECTION_TYPE.takServer },
  hub: { client: CONNECTION_TYPE.hubClient, server: CONNECTION_TYPE.hubServer },
} as const;

/** Subscription. Name not empty, type explicit, serverId stable, version.major above 0: each a trap (tak-federation §7.3). */
export function helloFrame({ node }: LinkContext, config: Fed2Config, role: 'client' | 'server'): Buffer {
  return frame(
    subscription({
      name: node.name || node.id,
      uid: node.id,
      type: TYPES[config.identityType][role],
      serverId: node.id,
      version: versionOf(node),
      filter: '',
    }),
  );
}

/** With major 0 a TAK server never completes our health checks (§2.4). */
function versionOf({ version }: Node) {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.+-]/, 3).map((part) => Number.parseInt(part, 10) || 0);
  return { major: Math.max(1, major), minor, patch, branch: 'waystation', variant: '' };
}

/** FederateGroups. `serving`: the first message to a client, and never again: each one makes TAK open another event stream (§2.3). */
export function groupsFrame({ node }: LinkContext, said: { groups?: readonly string[]; serving?: boolean }): Buffer {
  return frame(
    groupsMessage({ groups: said.groups ?? [], serving: said.serving, self: node, hops: { max: -1, current: 1 } }),
  );
}
