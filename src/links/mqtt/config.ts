// The keys of an `mqtt` link in the configuration file.
import * as z from 'zod';
import { type BrokerSettings, brokerKeys, brokerSettings, checkBroker } from './broker-config.ts';
import { MAX_EVENT_BYTES, MAX_FILTERS, MAX_IN_FLIGHT } from './limits.ts';
import type { Format } from './payload.ts';
import type { SensorRules } from './sensor.ts';
import { filterTrouble, mayMatch, templateTrouble } from './topics.ts';

const json = z.strictObject({
  type: z
    .string()
    .regex(/^[a-zA-Z0-9-]{3,100}$/, 'expected a CoT type such as a-f-G-E-S')
    .default('a-f-G-E-S')
    .describe('CoT type of what does not say its own as cot_type. Default: a friendly sensor.'),
  stale_seconds: z.int().min(1).max(86_400).default(300).describe('For how long a report is good.'),
});

export const mqttSchema = z
  .strictObject({
    ...brokerKeys,
    subscribe: z
      .union([z.string().transform((one) => [one]), z.array(z.string()).min(1).max(MAX_FILTERS)])
      .superRefine((filters, context) => {
        const message = filters.map(filterTrouble).find((trouble) => trouble !== undefined);
        if (message) context.addIssue({ code: 'custom', message });
      })
      .optional()
      .describe('Topics whose events come in, such as cot/#. Without it nothing comes in.'),
    share: z
      .string()
      .regex(/^[a-zA-Z0-9._-]{1,64}$/, 'expected 1 to 64 of a-z A-Z 0-9 . _ -')
      .optional()
      .describe('Boxes with the same share split what comes in: each event goes to one of them.'),
    publish: z
      .string()
      .superRefine((template, context) => {
        const message = templateTrouble(template);
        if (message) context.addIssue({ code: 'custom', message });
      })
      .optional()
      .describe('Topic of what goes out, such as cot/{type/}/{uid}. Without it nothing goes out.'),
    payload: z.enum(['xml', 'tak']).default('xml').describe('How events go out: CoT XML, or TAK protobuf (smaller).'),
    json: z
      .union([z.boolean(), json])
      .default(false)
      .describe('Take JSON objects with lat and lon as positions of sensors.'),
    qos: z
      .union([z.literal(0), z.literal(1)])
      .default(1)
      .describe('1: acknowledged by the broker; 0: not.'),
    retain: z
      .boolean()
      .default(false)
      .describe('The broker keeps the last event of each topic for whoever comes later.'),
    keep_session_seconds: z
      .int()
      .min(0)
      .max(86_400)
      .default(0)
      .describe('The broker keeps what comes for this box while it is away, for so long.'),
    max_event_bytes: z
      .int()
      .min(4_096)
      .max(8 * 1024 * 1024)
      .default(MAX_EVENT_BYTES)
      .describe('Largest event taken or sent.'),
    max_in_flight: z.int().min(1).max(1_024).default(MAX_IN_FLIGHT).describe('Events that wait for acknowledgement.'),
  })
  .superRefine((raw, context) => {
    const problem = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    checkBroker(raw, problem);
    if (!raw.subscribe && !raw.publish) problem(['subscribe'], 'an mqtt link needs subscribe, publish or both');
    if (raw.share && !raw.subscribe) problem(['share'], 'only with subscribe');
    const handedBack = raw.subscribe?.find((filter) => raw.publish && mayMatch(raw.publish, filter));
    if (raw.share && handedBack) {
      problem(['publish'], `goes to topics that are shared (${handedBack}): what the broker hands back would be lost`);
    }
    if (raw.json && !raw.subscribe) problem(['json'], 'only with subscribe');
    if (raw.share && raw.keep_session_seconds > 0) {
      problem(['keep_session_seconds'], 'not with share: the broker would keep for this box what another could do now');
    }
  })
  .transform(
    (raw): MqttConfig => ({
      broker: brokerSettings(raw),
      subscribe: raw.subscribe ?? [],
      share: raw.share,
      publish: raw.publish,
      payload: raw.payload,
      sensors: sensorsOf(raw.json === true ? json.parse({}) : raw.json),
      qos: raw.qos,
      retain: raw.retain,
      keepSessionSeconds: raw.keep_session_seconds,
      maxEventBytes: raw.max_event_bytes,
      maxInFlight: raw.max_in_flight,
    }),
  );

function sensorsOf(raw: z.output<typeof json> | false): SensorRules | undefined {
  return raw ? { type: raw.type, staleMs: raw.stale_seconds * 1000 } : undefined;
}

export interface MqttConfig {
  readonly broker: BrokerSettings;
  readonly subscribe: readonly string[];
  readonly share: string | undefined;
  readonly publish: string | undefined;
  readonly payload: Format;
  readonly sensors: SensorRules | undefined;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly keepSessionSeconds: number;
  readonly maxEventBytes: number;
  readonly maxInFlight: number;
}
