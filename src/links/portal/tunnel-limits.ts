// Every limit and deadline of tunnels, in one place.

/** A token is good for so long after it was handed out: a round trip and a TCP connection over a satellite fit in. */
export const TOKEN_LIFE_MS = 10_000;
/** 256 bits cannot be guessed, whatever the rate. */
export const TOKEN_BYTES = 32;
/** Tokens on their way, of all peers together. */
export const MAX_TOKENS = 512;
/** Tokens that were used or expired are remembered to say so: an operator learns more from that than from "unknown". */
export const MAX_SPENT_TOKENS = 1_024;

/** The one frame a splice connection begins with, head included. */
export const MAX_SPLICE_FRAME_BYTES = 256;
/** The answer may carry a refusal in words. */
export const MAX_ANSWER_FRAME_BYTES = 2_048;
/** A connection that begins with the magic has so long to name its token. */
export const SPLICE_REQUEST_MS = 10_000;
/** Splice connections that have not named a token yet; one more ends the oldest. */
export const MAX_NAMELESS = 64;

/** Tunnels of one hub, of all peers together. */
export const MAX_TUNNELS = 256;
/** Tunnels one peer may have asked for at a time, unless configured. */
export const MAX_TUNNELS_PER_PEER = 8;
/** Where a peer has as many as it may, one that was silent for so long gives way to a new one between the same two. */
export const DEAD_AIR_MS = 60_000;
/** A tunnel through which nothing passes for so long is closed. The longest learnt ping interval is 8 min. */
export const TUNNEL_IDLE_MS = 15 * 60_000;
/** The same once one side has hung up: the other had time to answer. */
export const TUNNEL_LINGER_MS = 60_000;
/** A side that takes nothing for so long has stopped reading. At 2.4 kbit/s, 64 kB take 218 s. */
export const TUNNEL_STALL_MS = 300_000;

/** Connections to exposed services, of all of them together. */
export const MAX_EXPOSED = 64;
/** Names under `expose:`. */
export const MAX_EXPOSED_NAMES = 64;
/** The exposed service stands beside us, on a LAN. */
export const EXPOSED_CONNECT_MS = 10_000;
/** What we were asked to dial back and did not finish yet. */
export const MAX_DIAL_BACKS = 16;
/** A hub or peer that says nothing at all for so long after a question, and so many round trips, may be gone: a second connection to it is raced. */
export const DOUBT_MS = 2_000;
export const DOUBT_ROUND_TRIPS = 4;
/** From asking for a tunnel to the answer: the hub asks the other side in between. */
export const TUNNEL_ANSWER_MS = 20_000;
/** From the hub's offer to the answer. */
export const OFFER_ANSWER_MS = 10_000;
/** From the first packet to the hub to an open connection. */
export const SPLICE_CONNECT_MS = 10_000;
/** From the token to a hub's 200: the other side has its token's life to come. */
export const SPLICE_ANSWER_MS = TOKEN_LIFE_MS + 5_000;
/** TLS inside a tunnel: about 5 kB on a new session, 17 s at 2.4 kbit/s, and twice the way. */
export const TUNNEL_TLS_MS = 60_000;
/** A body about tunnels is a few names. */
export const MAX_TUNNEL_BODY_BYTES = 1_024;
