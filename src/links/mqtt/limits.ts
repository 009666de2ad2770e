// Every limit and deadline of what speaks MQTT, in one place.

/** Largest event taken or sent, unless configured. */
export const MAX_EVENT_BYTES = 262_144;
/** What a packet may have on top of its event: topic and properties. */
export const PACKET_EXTRA_BYTES = 16_384;
/** A JSON object from a sensor is small. */
export const MAX_JSON_BYTES = 8_192;

/** Events that wait for the broker's acknowledgement, unless configured; a broker that allows fewer is obeyed. */
export const MAX_IN_FLIGHT = 64;
/** The same in bytes; one larger event when nothing else waits. */
export const MAX_IN_FLIGHT_BYTES = 524_288;
/** Handed to the socket and not yet taken by the network: then publishing waits. */
export const MAX_UNWRITTEN_BYTES = 65_536;
/** Events that the broker may send before we acknowledge the first of them: those that must not be lost are on disk by then. */
export const MAX_UNACKNOWLEDGED = 256;
/** What comes between connecting and the broker's word on our subscriptions. */
export const MAX_EARLY_EVENTS = 256;
export const MAX_EARLY_BYTES = 4 * 1024 * 1024;

export const CONNECT_MS = 20_000;
/** A TLS handshake is about 5 kB: 17 s at 2.4 kbit/s. */
export const TLS_MS = 45_000;
/** From our CONNECT to its CONNACK, and from SUBSCRIBE to SUBACK. */
export const ANSWER_MS = 30_000;
/** We ask a broker that is silent whether it lives (PINGREQ); gone after half as long again. */
export const KEEPALIVE_SECONDS = 30;
/** An event that the broker does not acknowledge for so long: it lies, or the line is dead. */
export const ACK_MS = 60_000;
/** After DISCONNECT the broker has so long to close. */
export const GOODBYE_MS = 1_000;

/** Topics listened to by one link; bytes of one topic or filter. */
export const MAX_FILTERS = 32;
export const MAX_TOPIC_BYTES = 1_024;
/** Relays an event may have passed, groups it may be sent to, that are said or believed. */
export const MAX_PATH = 64;
export const MAX_GROUPS = 64;
/** Bytes of the name of a relay or group. */
export const MAX_NAME_BYTES = 256;
