// Every limit and deadline of the CoT stream link, in one place.

/** commoncommo streamingsocketmanagement.h: ATAK's buffer for one message; a larger one is thrown away there. */
export const MAX_ATAK_FRAME_BYTES = 65_536;
/** Largest event accepted and sent, unless configured: missions and long routes stay below. */
export const MAX_EVENT_BYTES = 262_144;
/** A TAK frame is smaller than the XML of the same event; its head is a magic byte and a length. */
export const TAK_HEAD_BYTES = 6;
/** Messages in a row that cannot be read end the connection: it is no CoT source, or a broken one. */
export const MAX_MALFORMED_RUN = 100;
/** A negotiation message holds one small element. */
export const MAX_CONTROL_BYTES = 4_096;

/** Connections of one listener, unless configured. */
export const MAX_CONNECTIONS = 512;
/**
 * Collected for one peer while a write is under way. Little, because what stands here can no longer be replaced by a newer
 * position; at 2.4 kbit/s even this takes 55 s.
 */
export const MAX_PENDING_BYTES = 16_384;
/** A write that the network does not take for so long: the peer has stopped reading. */
export const WRITE_TIMEOUT_MS = 120_000;

/** ATAK's own connect time-out (commoncommo). */
export const CONNECT_MS = 20_000;
/** A TLS handshake is about 5 kB: 17 s at 2.4 kbit/s. */
export const TLS_MS = 45_000;
/** A listener that asks for credentials waits so long for them. */
export const AUTH_MS = 30_000;
/** After a polite end the peer has so long to end as well. */
export const GOODBYE_MS = 1_000;

/** A client that says nothing for so long is gone, unless configured. ATAK pings after 15 s of silence. */
export const LISTEN_IDLE_MS = 300_000;
/** A server silent for so long is gone, unless configured. */
export const CONNECT_IDLE_MS = 45_000;
/** We ping a server after so much silence, and again after as much more (commoncommo RX_STALE_SECONDS). */
export const PING_MS = 15_000;

/** How long a client waits for the answer to its request (protocol.txt). */
export const TAKP_ANSWER_MS = 60_000;

/** Phones with a connection of their own to a server that knows one contact for each, by its make (profiles.ts). */
export const PER_PHONE = 8;
export const MAX_PER_PHONE = 64;
/** A line of which less is known for each of them has fewer: a server sends everything to every connection. Bits per second. */
export const UPLINK_BPS = 64_000;
/** From one new connection to the next. */
export const UPLINK_EVERY_MS = 1_000;
/** A phone that left, and is back before, keeps its connection. */
export const UPLINK_GRACE_MS = 60_000;
/** One that broke is dialled again after a random part of a growing pause; one that lasted begins anew. */
export const UPLINK_BACKOFF = { firstMs: 2_000, maxMs: 600_000, floorMs: 500 };
export const UPLINK_HEALTHY_MS = 60_000;
export const UPLINK_SWEEP_MS = 30_000;
/** An event that does not say for whom it is waits so long at a phone's connection for its copy on the main one. */
export const UPLINK_HOLD_MS = 5_000;
/** Events that wait so. */
export const MAX_HELD = 256;
/** Events remembered as having gone by the main connection. */
export const MAX_HEARD = 2_048;
/** Peers remembered as being one phone, or several. */
export const MAX_FROM = 1_024;
/** Units named in the note that chat does not reach them, or counted in it; and how soon it is written. */
export const MAX_SHARING = 1_024;
export const NOTE_AFTER_MS = 2_000;
/** The main connection ends so soon after a phone's came up, so often in a row: the server takes one connection, for this long. */
export const STRIKE_MS = 5_000;
export const STRIKES = 3;
export const ONE_CONNECTION_MS = 3_600_000;
