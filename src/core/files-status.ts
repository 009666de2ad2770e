// Files as the status shows them: what is kept, and what is on its way.

/** A file on its way: from a phone or another box to this one, or from here to one of them. */
export interface FileTransfer {
  /** The first 12 digits of its SHA-256; '' while a phone has not said it. */
  readonly hash: string;
  readonly name: string;
  readonly direction: 'in' | 'out';
  /** Who it comes from now, or goes to: name of a peer or of a phone's certificate, or an address. */
  readonly peer: string;
  /** Bytes; 0: not said. */
  readonly size: number;
  /** Bytes of it that are there: here, or handed to whoever it goes to. */
  readonly got: number;
  /** Bytes per second, of the last seconds; 0 while nothing moves. */
  readonly rate: number;
  readonly state: TransferState;
  /** Of one that waits or failed: why. */
  readonly words: string;
}

export type TransferState = 'moving' | 'waiting' | 'whole' | 'failed';

/** Since the relay started. */
export interface TransferTotals {
  readonly whole: number;
  readonly failed: number;
  readonly bytes: number;
}

export interface FilesStatus {
  readonly files: number;
  readonly bytes: number;
  /** Most bytes of all. */
  readonly quota: number;
  /** Files that were announced and can be fetched. */
  readonly offers: number;
  /** The newest first; of those that ended the last ones. */
  readonly transfers: readonly FileTransfer[];
  readonly totals: Readonly<Record<FileTransfer['direction'], TransferTotals>>;
  /** What was refused, by code. */
  readonly refused: Readonly<Record<string, number>>;
}
