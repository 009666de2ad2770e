// Every bound of the v1 link in one place. Sizes in bytes, durations in milliseconds.

/** TCP connect, then TLS handshake, each. */
export const CONNECT_MS = 10_000;
export const TLS_MS = 15_000;
/** Having dialled, so long a refusal of our certificate is waited for: as long as the dial took, within these bounds. */
export const SETTLE_MIN_MS = 100;
export const SETTLE_MAX_MS = 3_000;
/** Least wait before redialling: the peer may still be tidying up. */
export const REDIAL_MS = 2_000;
/** What the peer may take to end politely when we do. */
export const GOODBYE_MS = 1_000;
/** A peer that reads nothing for this long is given up. */
export const WRITE_TIMEOUT_MS = 30_000;
/** A message that was begun and of which nothing more comes for this long is given up, and the connection with it. */
export const STALLED_FRAME_MS = 60_000;

/** Big-endian length before every message. */
export const FRAME_HEAD_BYTES = 4;
/** TAK's own limit (`maxFrameSize`): a length beyond is not a length. */
export const MAX_FRAME_BYTES = 256 << 20;
/** Events, default and least that may be configured. Larger ones are passed over. */
export const MAX_MESSAGE_BYTES = 16 << 20;
/** FreeTAKServer reads a message with one recv(): one TLS record (16,384), less the length. */
export const FTS_MAX_BODY_BYTES = 16_380;
/** FreeTAKServer cuts its own frames short when its buffer is full: a larger length is the middle of some text. */
export const FTS_MAX_FRAME_BYTES = 1 << 20;

/** Messages in a row that cannot be read. FreeTAKServer does not find back into step: it is dialled anew. */
export const MAX_MALFORMED_RUN = 10;
export const FTS_MAX_MALFORMED_RUN = 3;

/** Messages collected for one peer while a write is in flight. More waits in the peer's queue, where it can still be replaced. */
export const MAX_PENDING_BYTES = 64 << 10;

/** Contacts remembered of one FreeTAKServer: those it announced, and those we announced to it. */
export const MAX_CONTACTS = 10_000;

/** A time zone is a multiple of this from UTC, at most so far. */
export const ZONE_STEP_MS = 15 * 60_000;
export const ZONE_LIMIT_MS = 14 * 3_600_000;
/** How far from a whole step a position's age may be and still tell the zone: delay, and a clock that is a little off. */
export const ZONE_TOLERANCE_MS = 2 * 60_000;
/** Units whose say on the zone is kept, and for how long. */
export const MAX_VOTERS = 64;
export const VOTE_LIFE_MS = 15 * 60_000;

/** A file on its way to the peer by HTTPS: read and written so much at once; given up when nothing moves for so long. */
export const FILE_PIECE_BYTES = 64 << 10;
export const FILE_IDLE_MS = 60_000;
/** Of an answer, and of an address in it. */
export const FILE_ANSWER_BYTES = 4 << 10;
export const FILE_URL_CHARS = 1_024;
/** TAK Server's `httpsPort`. */
export const FILES_PORT = 8444;
