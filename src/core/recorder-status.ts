// The recorder as the status shows it.

export interface RecorderStatus {
  readonly on: boolean;
  /** On disk. */
  readonly bytes: number;
  /** Most bytes on disk; 0: it is off. */
  readonly limit: number;
  /** ISO-8601 UTC of the oldest event; null: nothing is recorded. */
  readonly from: string | null;
  /** Since the relay started: recorded; left out because the disk was full or slow; writes to the disk. */
  readonly events: number;
  readonly missed: number;
  readonly writes: number;
}
