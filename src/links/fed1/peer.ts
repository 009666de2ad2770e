// What both roles need to make a session: the peer it stands for, its dialect, and the warnings that belong to it.
import type { PeerSpec } from '../../core/session.ts';
import { mergeTrust } from '../../identity/trust.ts';
import type { LinkContext } from '../link.ts';
import type { Secured } from '../stream.ts';
import { type Fed1Config, tlsOf } from './config.ts';
import { type Dialect, PROFILES, type Profile } from './dialect.ts';
import type { FilesAt } from './files.ts';
import { FreeTakServerDialect } from './freetakserver.ts';
import { takServerDialect } from './takserver.ts';
import { Zone, zoneName } from './zone.ts';

/** TAK servers redial after 30 s: contacts behind a peer stay announced for twice as long. */
const GRACE_MS = 60_000;

export interface PeerSetup {
  readonly spec: PeerSpec;
  readonly profile: Profile;
  readonly dialect: Dialect;
  /** Where the peer takes files; undefined: nowhere. */
  readonly filesAt: Pick<FilesAt, 'address' | 'tls'> | undefined;
  /** Takes its warnings away. */
  readonly release: () => void;
}

/** The peer takes files where it is, with the certificate that it federates with, or another that is trusted. */
function filesOf(host: string, { identity }: Secured, config: Fed1Config, context: LinkContext): PeerSetup['filesAt'] {
  if (config.filesPort === undefined || host === '') return undefined;
  const own = tlsOf(config, context);
  const trust = mergeTrust(own.trust, { cas: [], pins: [identity.id] });
  return { address: { host, port: config.filesPort }, tls: { ...own, trust, verifyName: false } };
}

/** Durable also when accepted: a certificate is a stable name. */
export function specOf({ name: link }: LinkContext, key: string, name: string): PeerSpec {
  return { key, link, kind: 'fed1', name, durable: true, graceMs: GRACE_MS };
}

/** Sets up one connection of the peer `spec`. `host`: where it can be dialled; '': nobody knows. */
export function setUp(
  spec: PeerSpec,
  host: string,
  secured: Secured,
  config: Fed1Config,
  context: LinkContext,
): PeerSetup {
  const { identity } = secured;
  const filesAt = filesOf(host, secured, config, context);
  const profile = PROFILES[config.profile];
  if (config.profile === 'takserver') {
    return {
      spec,
      profile,
      filesAt,
      dialect: takServerDialect(context.node, { own: config.groups, hops: config.groupHops }),
      release() {},
    };
  }
  const releases = [context.warn(authenticatesNobody(identity.name, config.trust.length > 0))];
  const remembered = `zone ${spec.key}`;
  const zone = new Zone(Number(context.memory.get(remembered) ?? 0));
  let withdraw = () => {};
  const show = () => {
    withdraw();
    withdraw = zone.offsetMs === 0 ? () => {} : context.warn(otherZone(identity.name, zone.offsetMs));
  };
  show();
  const dialect = new FreeTakServerDialect({
    clock: context.clock,
    zone,
    onZone(offsetMs) {
      context.memory.set(remembered, String(offsetMs));
      context.log.warn(
        { peer: spec.key, zone: zoneName(offsetMs) },
        'times of this peer are read in another time zone',
      );
      show();
    },
  });
  releases.push(() => withdraw());
  return { spec, profile, filesAt, dialect, release: () => releases.forEach((release) => release()) };
}

function authenticatesNobody(name: string, pinned: boolean) {
  const pin = pinned
    ? 'Its certificate is the one named under trust.'
    : 'Its certificate was taken on first sight: name its fingerprint under trust of this link.';
  return {
    code: 'peer_authenticates_nobody',
    words: `${name} is a FreeTAKServer: it lets anybody in who reaches its federation port, so what comes from it may be anybody's`,
    fix: `Put a VPN or a firewall before that port, and let in only what you need (policy of this link). ${pin}`,
  };
}

function otherZone(name: string, offsetMs: number) {
  const zone = zoneName(offsetMs);
  return {
    code: 'peer_time_zone',
    words: `${name} gives the time of its own zone (${zone}) as UTC; this is corrected in both directions`,
    fix: 'Set that computer to UTC (timedatectl set-timezone UTC) and start FreeTAKServer again: then this goes away.',
  };
}
