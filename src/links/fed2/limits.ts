// Every bound of the v2 link in one place. Sizes in bytes, durations in milliseconds.

/** TLS up to attached: RPCs open, SERVING said, first answer heard. Two round trips over a satellite and a slow server. */
export const HANDSHAKE_MS = 20_000;
/** TCP connect, then TLS handshake, each. */
export const CONNECT_MS = 10_000;
export const TLS_MS = 15_000;

/** A HealthCheck of ours unanswered for this long is a miss; two in a row mean the peer is dead (tak-federation §7.7). */
export const HEALTH_DEADLINE_MS = 5_000;
export const HEALTH_MISSES = 2;
/** An unanswered HealthCheck is cancelled after this; until then a late answer still counts. */
export const HEALTH_ABANDON_MS = 15_000;
/** So many NOT_CONNECTED in a row: the peer answers but has forgotten us. The first ones after connecting are normal (§2.4). */
export const NOT_CONNECTED_MAX = 4;
/** A peer that has sent a HealthCheck sends the next, or anything else, within this, or is dead (after TAK's own rule, §2.6). */
export const HEALTH_SILENCE_MS = 15_000;

/** Longest wait for a sign that the peer has dealt with one RPC before the next that depends on it (§2.4: 2 before 3 before 4). */
export const SETTLE_MS = 200;
/** Least wait before redialling: TAK may still be tidying up (§2.1). */
export const REDIAL_MS = 2_000;
/** Least wait after "Disallowing duplicate" (§7.8). */
export const DUPLICATE_REDIAL_MS = 30_000;
/** Hubs 5.6 and 5.7 end the ROL stream after draining their backlog; sooner than this it is not opened again (§2.5). */
export const ROL_REOPEN_MS = 60_000;

/** Subscriptions, groups and health messages. */
export const MAX_CONTROL_BYTES = 256 << 10;
/** Names a peer calls itself by, as shown. */
export const MAX_NAME_LENGTH = 100;
/** Groups a peer announces, as shown. */
export const MAX_GROUPS = 1_000;
/** Events, defaults and most that may be configured (TAK's own limit, §2.7). */
export const MAX_MESSAGE_BYTES = 16 << 20;
export const MAX_ROL_BYTES = 64 << 20;

/** Events collected for one peer while a write is in flight. More waits in the peer's queue, where it can still be replaced. */
export const MAX_PENDING_BYTES = 64 << 10;
/** The same for missions: much, because while one is refused the peer's whole queue waits, positions too. */
export const MAX_PENDING_ROL_BYTES = 8 << 20;
/** A large write goes out in pieces of this size, so that other streams get their turn and progress can be seen. */
export const PIECE_BYTES = 64 << 10;
/** A peer that reads nothing for this long is given up. */
export const WRITE_TIMEOUT_MS = 30_000;

/** Streams a peer may have open: TAK uses seven and a HealthCheck. */
export const MAX_STREAMS = 32;
/** What may be under way towards us on one stream, and on one connection: what a paused peer can make us hold. */
export const STREAM_WINDOW_BYTES = 512 << 10;
export const CONNECTION_WINDOW_BYTES = 1 << 20;
/** Request headers of one call, and how many. TAK sends eight. */
export const MAX_HEADER_BYTES = 8 << 10;
export const MAX_HEADERS = 64;
/** Streams opened and cancelled by the peer: a burst, and so many per second (rapid reset, CVE-2023-44487). */
export const RESET_BURST = 100;
export const RESET_PER_SECOND = 10;
