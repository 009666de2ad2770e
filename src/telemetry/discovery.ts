// Home Assistant finds the box by itself: one retained message that describes a device and its diagnostic sensors
// (https://www.home-assistant.io/integrations/mqtt/, "device discovery payload").
import type { LinkState, RelayState } from './state.ts';

export interface Described {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  /** Topics: of the box, whether it is there, of a link. */
  readonly status: string;
  readonly availability: string;
  link(name: string): string;
  readonly links: readonly string[];
  /** Links described before that are no longer there. */
  readonly goneLinks: readonly string[];
  /** What was not told again for so long is not known any more. */
  readonly expireAfterSeconds: number;
}

type Component = Readonly<Record<string, unknown>>;

export function discoveryPayload(box: Described) {
  const links = box.links.flatMap((name) => linkComponents(box, name));
  const gone = box.goneLinks.flatMap((name) => linkComponents(box, name));
  return {
    device: {
      identifiers: [box.id],
      name: box.name,
      manufacturer: 'Waystation',
      model: 'Federation relay',
      sw_version: box.version,
    },
    origin: { name: 'Waystation', sw_version: box.version },
    availability_topic: box.availability,
    qos: 1,
    components: Object.fromEntries([
      ...[...relayComponents(box), ...links].map(([key, component]) => [key, component] as const),
      // A component of which only the platform is said is removed.
      ...gone.map(([key, { platform }]) => [key, { platform }] as const),
    ]),
  };
}

function relayComponents(box: Described): readonly (readonly [string, Component])[] {
  const topic = box.status;
  const sensor = (field: keyof RelayState, name: string, more: Component = {}) =>
    component(box, field, { platform: 'sensor', name, state_topic: topic, value_template: templateOf(field), ...more });
  const alarm = (field: string, name: string, condition: string) =>
    component(box, field, {
      platform: 'binary_sensor',
      name,
      state_topic: topic,
      device_class: 'problem',
      value_template: `{{ 'ON' if ${condition} else 'OFF' }}`,
    });
  return [
    alarm('problem', 'Problem', "value_json.state != 'ok'"),
    alarm('under_voltage', 'Power too weak', 'value_json.under_voltage'),
    sensor('state', 'State', { json_attributes_topic: topic }),
    sensor('peers_connected', 'Peers connected', { state_class: 'measurement' }),
    sensor('waiting', 'Messages waiting', { state_class: 'measurement' }),
    sensor('units', 'Units', { state_class: 'measurement' }),
    sensor('received', 'Messages received', { state_class: 'total_increasing' }),
    sensor('sent', 'Messages sent', { state_class: 'total_increasing' }),
    sensor('newest_fix_age_s', 'Age of newest position', SECONDS),
    sensor('certificate_days', 'Certificate valid', { device_class: 'duration', unit_of_measurement: 'd' }),
    sensor('memory_mb', 'Memory', MEGABYTES),
    sensor('storage_free_mb', 'Storage free', MEGABYTES),
    sensor('temperature_c', 'Temperature', {
      device_class: 'temperature',
      unit_of_measurement: '°C',
      state_class: 'measurement',
    }),
    sensor('started_at', 'Started', { device_class: 'timestamp' }),
  ];
}

function linkComponents(box: Described, link: string): readonly (readonly [string, Component])[] {
  const topic = box.link(link);
  const key = (field: string) => `link_${link.replace(/[^a-z0-9_]/g, (odd) => `_${odd.charCodeAt(0)}_`)}_${field}`;
  const sensor = (field: keyof LinkState, name: string, more: Component) =>
    component(box, key(field), {
      platform: 'sensor',
      name: `${link}: ${name}`,
      state_topic: topic,
      value_template: templateOf(field),
      ...more,
    });
  return [
    component(box, key('up'), {
      platform: 'binary_sensor',
      name: `${link}: up`,
      device_class: 'connectivity',
      state_topic: topic,
      value_template: "{{ 'ON' if value_json.up else 'OFF' }}",
      json_attributes_topic: topic,
    }),
    sensor('newest_fix_age_s', 'age of newest position', SECONDS),
    sensor('waiting', 'messages waiting', { state_class: 'measurement' }),
  ];
}

const SECONDS = { device_class: 'duration', unit_of_measurement: 's', state_class: 'measurement' } as const;
const MEGABYTES = { device_class: 'data_size', unit_of_measurement: 'MB', state_class: 'measurement' } as const;

function component(box: Described, key: string, more: Component): readonly [string, Component] {
  const common = { unique_id: `${box.id}_${key}`, entity_category: 'diagnostic', expire_after: box.expireAfterSeconds };
  return [key, { ...common, ...more }];
}

function templateOf(field: string): string {
  return `{{ value_json.${field} }}`;
}
