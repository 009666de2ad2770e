// The section `recorder:` of the file: a ring of recent events on disk. Off unless it says otherwise.
import * as z from 'zod';

export interface RecorderSettings {
  /** Most bytes on disk, packed; 0: nothing is recorded. */
  readonly bytes: number;
}

export const recorder = z
  .strictObject({
    enabled: z.boolean().default(false).describe('Keep the latest events on disk: tracks, chat and all.'),
    bytes: z
      .int()
      .min(1_048_576)
      .max(100_000_000_000)
      .default(67_108_864)
      .describe('Most bytes, packed; the oldest events go.'),
  })
  .transform(({ enabled, bytes }): RecorderSettings => ({ bytes: enabled ? bytes : 0 }));
