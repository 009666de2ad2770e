// What a link that lets strangers join by a code is given: somebody who knows the code and writes the configuration.

/** A box that proved to know the code. */
export interface NewPeer {
  /** SHA-256 of its certificate, lower hex. */
  readonly pin: string;
  /** The federation key of the two, which nobody else has. */
  readonly key: string;
  /** What it calls itself. */
  readonly name: string;
}

/** One try, already counted. */
export interface PairingAttempt {
  readonly code: string;
  /** The code was right, and is used up now. False: it is no longer good. */
  claim(): boolean;
  /** Makes it a peer of the link. Resolves to its name here. Rejects with LinkError. */
  welcome(peer: NewPeer): Promise<string>;
  /** The far end could not do its part: it is no peer after all. */
  undo(): Promise<void>;
}

/** Not by an address: through a hub, which has a name for him. */
export interface Between {
  readonly hub: string;
  readonly name: string;
}

export interface PairingDesk {
  /** Somebody may try. */
  readonly isOpen: boolean;
  /** @throws LinkError no_code, too_many_codes */
  begin(address: string, link: string, between?: Between): PairingAttempt;
}
