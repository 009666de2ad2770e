// The recorder of a relay, as it is configured. Part of the composition root.
import { join } from 'node:path';
import type { Config } from './config/schema.ts';
import type { Hub } from './core/hub.ts';
import type { Clock } from './lib/clock.ts';
import type { Log } from './lib/log.ts';
import { Recorder } from './recording/recorder.ts';
import { asXml } from './wire/encode.ts';

export function openRecorder(config: Config, hub: Hub, { clock, log }: { clock: Clock; log: Log }): Recorder {
  const recorder = new Recorder({
    dir: join(config.data, 'recorder'),
    clock,
    log: log.child({ part: 'recorder' }),
    tap: (listener) => hub.tap(listener),
    toXml: (envelope) => asXml(envelope).toString('utf8'),
  });
  recorder.apply(config.recorder.bytes);
  return recorder;
}
