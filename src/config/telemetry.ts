// The section `telemetry:` of the file: where this box tells how it does.
import * as z from 'zod';
import { brokerKeys, brokerSettings, checkBroker } from '../links/mqtt/broker-config.ts';
import { topicTrouble } from '../links/mqtt/topics.ts';
import type { TelemetrySettings } from '../telemetry/mqtt.ts';

const topic = z.string().superRefine((value, context) => {
  const message = /[+#]/.test(value) ? 'a topic to publish to has no + and #' : topicTrouble(value);
  if (message) context.addIssue({ code: 'custom', message });
});

const mqtt = z
  .strictObject({
    ...brokerKeys,
    topic: topic.default('waystation').describe('Topics begin with this and the box’s id: TOPIC/ID/status.'),
    interval_seconds: z.int().min(5).max(3_600).default(30).describe('How often everything is told again.'),
    home_assistant: z
      .union([z.boolean(), topic])
      .default(true)
      .describe('Discovery by Home Assistant; its prefix, where that is not "homeassistant"; false: none.'),
  })
  .superRefine((raw, context) => {
    checkBroker(raw, (path, message) => context.addIssue({ code: 'custom', path, message }));
  })
  .transform(
    (raw): TelemetrySettings => ({
      broker: brokerSettings(raw),
      topic: raw.topic,
      intervalMs: raw.interval_seconds * 1000,
      discovery: raw.home_assistant === true ? 'homeassistant' : raw.home_assistant || undefined,
    }),
  );

export interface TelemetryConfig {
  readonly mqtt?: TelemetrySettings | undefined;
}

export const telemetry = z
  .strictObject({ mqtt: mqtt.optional().describe('Tell an MQTT 5 broker how this box does.') })
  .nullish()
  .transform((value): TelemetryConfig => value ?? {});
