// `waystation record export`: a recording as other programs read it: CoT, GPX (tracks), KML (tracks on a time line).

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { parseArgs } from 'node:util';
import { FatalError } from '../lib/errors.ts';
import { FORMATS, type Format } from '../recording/formats.ts';
import { readRecording } from '../recording/read.ts';
import { type Command, EXIT, UsageError } from './command.ts';

export const recordCommand: Command = {
  name: 'record',
  usage: 'export FILE [--format cot|gpx|kml] [--out FILE]',
  summary: 'Turn a recording into CoT, GPX or KML',
  help: [
    '  FILE            written by "waystation watch --json", or CoT events',
    '  --format NAME   cot (default), gpx, kml',
    '  --out FILE      where to write (default: standard output)',
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    const [verb, file, ...more] = positionals;
    if (verb !== 'export' || file === undefined || more.length > 0) throw new UsageError('say: export FILE');
    if (!Object.hasOwn(FORMATS, values.format)) throw new UsageError('--format is cot, gpx or kml');
    const pieces = FORMATS[values.format as Format].write(readRecording(file), MAX_POINTS);
    if (values.out === undefined) for await (const piece of pieces) context.out(piece);
    else await write(values.out, pieces);
    return EXIT.ok;
  },
};

const OPTIONS = { format: { type: 'string', default: 'cot' }, out: { type: 'string' } } as const;
/** Of all tracks; a longer recording is cut, and says so. */
const MAX_POINTS = 1_000_000;

async function write(path: string, pieces: AsyncIterable<string>): Promise<void> {
  const stream = createWriteStream(path, { flags: 'wx' });
  try {
    await once(stream, 'open');
    for await (const piece of pieces) if (!stream.write(`${piece}\n`)) await once(stream, 'drain');
    stream.end();
    await once(stream, 'finish');
  } catch (error) {
    stream.destroy();
    if (error instanceof FatalError) throw error;
    const words = `cannot write ${path}: ${(error as Error).message}`;
    throw new FatalError('cannot_write', words, 'name a file that is not there yet', error);
  }
}
