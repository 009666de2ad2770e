// Every limit and deadline of sessions between relays, in one place (tunnels have theirs in tunnel-limits.ts). Sizes in
// bytes, durations in milliseconds.

// --- connecting

/** Until the key is proven. A challenge and its answer take 32, a refusal a few words. */
export const MAX_BODY_BEFORE_AUTH = 64;
/** From then on. One record, one request, one piece of a response. */
export const MAX_BODY = 1 << 20;
/** What a body may hold beside one record. */
export const EVENTS_EXTRA_BYTES = 24;
export const NONCE_BYTES = 32;
/** Connections of one listener. */
export const MAX_CONNECTIONS = 1_024;
/** Of these, not yet proven; one more ends the oldest of the address that has most of them. */
export const MAX_UNPROVEN = 256;

/** Name look-up and TCP. A firewall that swallows packets costs so long. */
export const CONNECT_MS = 10_000;
/** From an open connection to a proven peer. About 2.3 kB for a new session, 16 s at 1.2 kbit/s, and four round trips. */
export const HANDSHAKE_MS = 60_000;
/** A client's Hello may be this late, and HELLO_ROUND_TRIPS of the challenge later; then it is one that sends none. */
export const HELLO_MS = 2_000;
export const HELLO_ROUND_TRIPS = 6;
/** Keys of TLS sessions are good for so long after certificates were last shown (RFC 8446 §4.6.1 has the same for tickets). */
export const RESUME_MS = 7 * 24 * 3_600_000;
/** Of one peer: it may have missed the end of the last handshakes. */
export const MAX_RESUMPTIONS = 4;

/** So many wrong keys from one address within WRONG_KEYS_MS shut it out for SHUT_OUT_MS. */
export const WRONG_KEYS = 3;
export const WRONG_KEYS_MS = 60_000;
export const SHUT_OUT_MS = 60_000;
/** Addresses whose wrong keys are counted. */
export const MAX_SUSPECTS = 1_024;
/** Challenges of ours that are not answered when they come back as somebody else's. */
export const MAX_OWN_NONCES = 256;

/** Wait before a dead connection is dialled again: the first, and the longest it doubles to. */
export const FIRST_RETRY_MS = 1_000;
export const MAX_RETRY_MS = 60_000;
/** While the network itself is out it is tried every so often, for OUTAGE_MS; then the waits above count. */
export const OUTAGE_RETRY_MS = 2_000;
export const OUTAGE_MS = 5 * 60_000;
/** A hub lost for less than OUTAGE_MS is dialled again within this: 1,000 spokes are 50 handshakes a second when it is back. */
export const HUB_RETRY_MS = 20_000;
/** A hub that is back is asked for the peers behind it within this. */
export const HUB_BACK_MS = 500;
/** After a session that lasted so long the waits begin anew. */
export const STABLE_MS = 60_000;
/** Where there is another way, the end of a session is followed by the next within this: a hub died, not the peer. */
export const TAKE_OVER_MS = 2_000;
/** Sessions shorter than WORKED_MS: so often within TAKE_OVERS_MS; beyond that the waits above count again. */
export const WORKED_MS = 5_000;
export const TAKE_OVERS = 3;
export const TAKE_OVERS_MS = 60_000;
/** A way that neither works nor fails keeps the next one waiting for so long. */
export const HEAD_START_MS = 1_500;
/** While a hub is in between, the direct way is tried again after this, doubling to MAX_PROBE_MS. */
export const FIRST_PROBE_MS = 15_000;
export const MAX_PROBE_MS = 300_000;

/** A connection of ours that the peer does not seem to count for so long has not crossed one of its own on the way. */
export const CROSSING_MS = 10_000;

/** Two boxes with one identity replace each other: so many times within TWINS_MS, and one is kept out for TWINS_MS. */
export const TWIN_FLIPS = 3;
export const TWINS_MS = 60_000;

// --- staying up

/** Silence of a peer that owes us something: it is asked for a sign of life. Costs nothing while a link is idle. */
export const ASK_MS = 5_000;
/** And a second connection is raced. */
export const SILENCE_MS = 15_000;
/** The shortest time an answer to a PING is waited for. */
export const PING_PATIENCE_MS = 15_000;
/** PING intervals are learnt between what is configured and this. */
export const MAX_KEEPALIVE_MS = 480_000;
/** TCP's own keepalive comes so much later than PING: it only speaks where PINGs cannot. */
export const TCP_KEEPALIVE_EXTRA_MS = 15_000;
/** The side that was dialled asks after so long at the earliest: keeping the way open is the dialler's part. */
export const LISTENER_PING_MS = 60_000;
/**
 * Contacts behind a peer stay announced, and what it told us stays known, for so long after its connection ended. Longer than
 * the breaks that vehicles see, with silence to be noticed before (30 s) and a wait before the next try (1 min) behind: until
 * then what is said to those contacts is kept for them; afterwards it has no recipient.
 */
export const GRACE_MS = 15 * 60_000;
/** The hub's timer and ours may differ by so much. */
export const GRACE_MARGIN_MS = 1_000;
/** What a peer is known to have, of positions: of the last 262,144 messages of this relay; 512 B for 4,096 of them. */
export const ARRIVED_PAGES = 64;
/** A polite end: what was written may go out for so long. */
export const GOODBYE_MS = 1_000;
export const WRITE_TIMEOUT_MS = 120_000;

// --- events

/** Records taken in are acknowledged after so long, or so many, or so many bytes. */
export const ACK_MS = 200;
export const ACK_RECORDS = 256;
export const ACK_BYTES = 128 << 10;
/** What is announced as credit: bytes of records taken before they are acknowledged. */
export const CREDIT_BYTES = 1 << 20;
/** Bytes of records on their way at the beginning, at most, and towards a peer that does not acknowledge. */
export const FIRST_WINDOW_BYTES = 4 << 10;
/** Where the greeting has told something of the line: little, for shapers let the first packets pass at once, whatever the line. */
export const SMALLEST_FIRST_WINDOW = 256;
export const GREETED_WINDOW_BYTES = 1_536;
/** Towards one who acknowledges when asked, so that it opens with every round trip. */
export const ASKED_WINDOW_BYTES = 512;
export const MAX_WINDOW_BYTES = 512 << 10;
/** Collected while a write is under way. Little: what stands here can no longer be replaced by a newer position. */
export const MAX_PENDING_BYTES = 64 << 10;
/** Records that cannot be read, in a row, end the session. */
export const MAX_MALFORMED_RUN = 100;

/** A peer that asks for acknowledgements where it waits for them is acknowledged after so long otherwise. */
export const SLOW_ACK_MS = 1_000;

// --- records in pieces (chunks.ts)

/** Records that wait to be sent in pieces, and their bytes; one is always taken. */
export const MAX_CHUNKED = 64;
export const MAX_CHUNKED_BYTES = 4 << 20;
/** A record whose next piece does not come for so long is given up. */
export const CHUNK_WAIT_MS = 10 * 60_000;
/** Positions and alerts up to this size are not cut; other events up to it wait for nothing when they are. */
export const MAX_WHOLE_EVENT = 4 << 10;
/** One event in pieces, as a peer may announce it. */
export const MAX_EVENT_PIECES = 64 << 10;
/** Pieces are no larger than this however fast the line. */
export const MAX_PIECE_BYTES = 64 << 10;

// --- packed records (packing.ts)

/** A line that answers quicker than this, or carries more, needs no packing ("auto"). */
export const QUICK_RTT_MS = 10;
export const QUICK_BPS = 2_000_000;

/** After a packed record that cannot be read none are invited for so long. */
export const MISREAD_MS = 10 * 60_000;
/** One of them, unpacked. */
export const MAX_UNPACKED = 64 << 10;
/** What both ends remember of what passed: as far as deflate looks back. */
export const MEMORY_BYTES = 32 << 10;
/** Units whose last position is remembered, and the largest of these. About 4 MB at most for a peer, in each direction. */
export const MAX_UNITS = 1_024;
export const MAX_UNIT_BYTES = 2 << 10;

// --- requests

export const REQUEST_MS = 30_000;
/** Of ours to one peer, unanswered. */
export const MAX_OUTSTANDING = 64;
/** Of one peer, waiting for a worker. */
export const MAX_WAITING_REQUESTS = 64;
export const MAX_PATH_BYTES = 1_024;
export const MAX_REQUEST_BYTES = 256 << 10;
/** All pieces of a response together. */
export const MAX_RESPONSE_BYTES = 8 << 20;
/** One piece of a response; the next waits for a sign that this one arrived, so that events get their turn. */
export const PIECE_BYTES = 16 << 10;
/** Relays a request may pass. */
export const MAX_REQUEST_HOPS = 8;
