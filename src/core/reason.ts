// Why a message was not forwarded and why a connection ended: closed lists. One word is the metric label, the log field,
// the test's expectation and the key of the sentence a person reads.

export const DROP_REASONS = [
  'malformed',
  'too_large',
  'stale',
  'expired',
  'duplicate',
  'loop',
  'hop_limit',
  'filtered_in',
  'filtered_out',
  'rate_limited',
  'unsupported',
  'no_recipient',
  'queue_full',
  'outbox_full',
  'too_old',
  'damaged',
  'superseded',
  'peer_gone',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export const DROP_WORDS: Readonly<Record<DropReason, string>> = {
  malformed: 'could not be read as an event',
  too_large: 'larger than this link allows',
  stale: 'arrived after its own stale time, or dated too far in the future',
  expired: 'went stale while waiting to be sent',
  duplicate: 'already seen, by this or another path',
  loop: 'had already passed through this relay',
  hop_limit: 'had travelled the most hops it may',
  filtered_in: 'not allowed in from this peer by policy',
  filtered_out: 'not allowed out to this peer by policy',
  rate_limited: 'more than this link may send',
  unsupported: 'cannot be said in this protocol (contact notices, missions, files)',
  no_recipient: 'addressed to somebody not known here',
  queue_full: 'pushed out of a full queue by newer or more urgent ones',
  outbox_full: 'pushed out of a full outbox by newer or more urgent ones',
  too_old: 'waited in the outbox for as long as it may',
  damaged: 'could not be read back from the disk',
  superseded: 'replaced by a newer word of the same unit or marker before it was sent',
  peer_gone: 'the peer left before it could be sent',
};

export const CLOSE_REASONS = [
  'shutdown',
  'config_changed',
  'replaced',
  'not_trusted',
  'revoked',
  'peer_limit',
  'protocol_error',
  'handshake_timeout',
  'idle_timeout',
  'write_timeout',
  'remote_closed',
  'network_error',
  'internal_error',
] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

export const CLOSE_WORDS: Readonly<Record<CloseReason, string>> = {
  shutdown: 'this relay is stopping',
  config_changed: 'the configuration of this link changed',
  replaced: 'a newer connection of the same peer took over',
  not_trusted: 'the peer could not prove that it may connect',
  revoked: 'the peer is no longer trusted',
  peer_limit: 'too many connections',
  protocol_error: 'the peer broke the protocol',
  handshake_timeout: 'the peer did not finish connecting in time',
  idle_timeout: 'nothing was heard for too long',
  write_timeout: 'the peer stopped reading',
  remote_closed: 'the peer closed the connection',
  network_error: 'the network failed',
  internal_error: 'a fault in this relay; the log has the details',
};

export type DropCounts = Partial<Record<DropReason, number>>;

/** Adds one (or `count`) to a drop counter. */
export function countDrop(counts: DropCounts, reason: DropReason, count = 1): void {
  counts[reason] = (counts[reason] ?? 0) + count;
}
