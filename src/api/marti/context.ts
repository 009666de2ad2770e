// What the Marti routes are given of the relay, and who asks.
import type { IncomingMessage } from 'node:http';
import type { Shelf, StoredFile } from '../../files/shelf.ts';
import type { Transfers } from '../../files/transfers.ts';

/** A phone, or a federate, that asks. */
export interface MartiCaller {
  /** CN of its certificate, or its address. */
  readonly name: string;
  /** SHA-256 of its certificate; undefined: it came without one, over plain HTTP. */
  readonly fingerprint: string | undefined;
  readonly address: string;
  /** A server that federates with us, and no phone. */
  readonly isFederate: boolean;
}

/** A file that can be read, wherever it is; part of it may have to come from another box first. */
export interface Found {
  readonly file: Pick<StoredFile, 'hash' | 'name' | 'size' | 'mime' | 'addedMs'>;
  /** From `start` to `end`, both included. Rejects with FileRefusal when it cannot be had. */
  read(start: number, end: number, signal: AbortSignal): AsyncIterable<Buffer>;
}

export interface MartiContact {
  readonly uid: string;
  readonly callsign: string;
  readonly team: string;
  readonly role: string;
  readonly lastMs: number;
  readonly connected: boolean;
}

export interface MartiParts {
  readonly shelf: Shelf;
  /** Told of what comes and goes. */
  readonly transfers: Transfers;
  readonly version: string;
  nodeId(): string;
  /** @throws FileRefusal `no_such_file`, `filtered` */
  find(hash: string, caller: MartiCaller): Found;
  /** Whether the phone's link takes files from it (dp_in), and gives them (dp_out). */
  mayBring(caller: MartiCaller): boolean;
  mayFetch(caller: MartiCaller): boolean;
  /** Whether a file of this box may be listed to it: not that of a network with which its own does not federate. */
  mayKnow(file: StoredFile, caller: MartiCaller): boolean;
  /** Whom the phone may know of. */
  contacts(caller: MartiCaller): readonly MartiContact[];
  groups(caller: MartiCaller): readonly string[];
  /** A file was brought, for the log and the audit. */
  onBrought(file: StoredFile, caller: MartiCaller): void;
}

export interface MartiRequest {
  readonly request: IncomingMessage;
  readonly query: URLSearchParams;
  readonly path: string;
  readonly caller: MartiCaller;
  /** `https://10.0.0.1:8443`: this box as the phone reached it. */
  readonly base: string;
}
