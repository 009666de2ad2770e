// What the recorder holds, for whoever may: how much it is, and the events of a time in a form that other programs read.
import { Readable } from 'node:stream';
import * as z from 'zod';
import type { RecorderStatus } from '../../core/recorder-status.ts';
import { FORMATS } from '../../recording/formats.ts';
import type { Recorded } from '../../recording/read.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route } from '../route.ts';

/** Points of all tracks in one file: they are held in memory. */
const MAX_POINTS = 100_000;

export interface RecordingDeps {
  recorder(): RecorderStatus;
  /** Events received in that time, wall clock milliseconds, in their order. */
  recorded(sinceMs: number, untilMs: number): AsyncIterable<Recorded>;
  /** Name of this box. */
  name(): string;
}

const time = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));

export const fileQuery = z.strictObject({
  format: z
    .enum(Object.keys(FORMATS) as (keyof typeof FORMATS)[])
    .default('cot')
    .describe('cot, gpx or kml.'),
  since: time.optional().describe('Only what was received from then on; ISO 8601.'),
  until: time.optional().describe('Only what was received until then.'),
});

export function recordingRoutes(deps: RecordingDeps): Route[] {
  let busy = false;
  const tag = 'Recorder';
  return [
    route({
      method: 'GET',
      path: '/api/recording',
      role: 'operator',
      tag,
      summary: 'What the recorder holds',
      answer: z.object({
        on: z.boolean(),
        bytes: z.number(),
        limit: z.number(),
        from: z.string().nullable(),
        events: z.number(),
        missed: z.number(),
        writes: z.number(),
      }),
      handle: () => deps.recorder(),
    }),
    route({
      method: 'GET',
      path: '/api/recording/file',
      role: 'operator',
      tag,
      summary: 'The recorded events: a file of CoT events ("waystation replay" says it again), or tracks as GPX or KML',
      query: fileQuery,
      gives: 'application/xml',
      navigable: true,
      handle: ({ query, note }) => {
        if (busy) throw new Refusal(429, 'busy', 'a recording is being fetched already', { fix: 'wait for it' });
        busy = true;
        note(`recording fetched as ${query.format}`);
        const { type, ending, write } = FORMATS[query.format];
        const events = deps.recorded(query.since ?? 0, query.until ?? Number.POSITIVE_INFINITY);
        const body = Readable.from(lines(write(events, MAX_POINTS)), { objectMode: false });
        body.once('close', () => {
          busy = false;
        });
        const name = `${deps.name().replace(/[^A-Za-z0-9._-]/g, '_') || 'waystation'}.${ending}`;
        return new Reply(
          200,
          body,
          { 'content-type': type, 'content-disposition': `attachment; filename="${name}"` },
          'raw',
        );
      },
    }),
  ];
}

async function* lines(pieces: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) yield Buffer.from(`${piece}\n`);
}
