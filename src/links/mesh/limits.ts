// Every limit of a mesh link, in one place. Sizes in bytes, durations in milliseconds.

/** Largest datagram that UDP over IPv4 can carry. */
export const MAX_DATAGRAM_BYTES = 65_507;
/** Interfaces joined at once. */
export const MAX_INTERFACES = 16;
/** Datagrams handed to one interface that the system has not taken yet. */
export const MAX_IN_FLIGHT = 64;
/** How often the interfaces of this machine are looked at. */
export const LOOK_MS = 5_000;

// --- whom one interface hears

/** Devices remembered for the version to speak; beyond it the one not heard for longest is forgotten. */
export const MAX_DEVICES = 1_024;
/** A device not heard for so long no longer decides which version is spoken (commoncommo: two minutes). */
export const DEVICE_MS = 120_000;
/** We say which versions we speak this often (commoncommo: every minute at the latest). */
export const ADVERTISE_MS = 55_000;
/** Units that were heard here are not told here: they are on this mesh themselves. */
export const HEARD_MS = 10 * 60_000;
export const MAX_HEARD = 10_000;

// --- messages to one device

/** Connections to devices at once; further messages wait in the peer's queue. */
export const MAX_DIRECT = 8;
/** A device takes its message in this time or does not get it. */
export const DIRECT_MS = 5_000;

/** Uids that two addresses speak under, remembered and shown for so long after the last was noticed. */
export const MAX_CONTESTED = 64;
export const CONTESTED_MS = 10 * 60_000;
