/** Handshake of a Portal node, all of it (peers.md D1: 4096 bytes). */
export const MAX_HANDSHAKE_BYTES = 4096;
export const MAX_NAME_BYTES = 63;
/** A frame without its length. */
export const MAX_FRAME_BYTES = 1 << 20;
/** Beside a body in its frame. */
export const FRAME_EXTRA_BYTES = 64 << 10;
export const MAX_HEADERS = 32;
export const MAX_LABELS = 32;
export const MAX_PATH_BYTES = 1024;
/** Requests that wait for an answer on one connection, either way: answers come in order, one after the other. */
export const MAX_WAITING = 16;
/** Bytes of answers that a member has not read. */
export const MAX_UNREAD_BYTES = 4 << 20;
export const CONNECT_MS = 5_000;
export const TLS_MS = 10_000;
export const GREETING_MS = 5_000;
export const REQUEST_MS = 30_000;
/** How often a dialled node is asked for its status: that it answers is the only sign of life there is. */
export const LOOK_MS = 60_000;
