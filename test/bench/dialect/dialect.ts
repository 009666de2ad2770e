// A language that load can be spoken in: how to hear events from a relay and how to send them to it. Written by hand and
// light, so that the load never weighs more than the relay under test.

export interface Endpoint {
  readonly port: number;
  /** PEM. undefined: plain TCP. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
}

export interface Sender {
  send(event: Buffer): void;
  /** Bytes handed over that the network has not taken yet. */
  waiting(): number;
}

export interface Dialect {
  /** Resolves once connected. `heard` gets the bytes of one message; what is none of ours is the caller's to sort out. */
  receive(endpoint: Endpoint, heard: (message: Buffer) => void): Promise<void>;
  send(endpoint: Endpoint): Promise<Sender>;
  /** Makes the event with that number. */
  event(sequence: number): Buffer;
}

/** Cuts a stream into messages: `next` tells the length of the message at the start, or 0 when it is not complete. */
export function cutter(next: (bytes: Buffer) => number, heard: (message: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    let bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    for (let length = next(bytes); length > 0; length = next(bytes)) {
      heard(bytes.subarray(0, length));
      bytes = bytes.subarray(length);
    }
    rest = bytes;
  };
}
