// An emulated TAK server or Federation Hub on @grpc/grpc-js: a child process that takes JSON lines and says JSON lines.
// The vocabulary is in ../README.md. It knows nothing of src/.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { ClientRole } from './client.ts';
import type { Far } from './judge.ts';
import type { Role, Settings } from './role.ts';
import type { ContactInput, EventInput, GroupsInput, RolInput, Stamp } from './say.ts';
import { emit, encodeContact, encodeEvent, encodeGroups, encodeRol, violation } from './say.ts';
import { ServerRole } from './server.ts';
import { encode } from './wire.ts';

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    as: { ...text, default: 'takserver' },
    role: { ...text, default: 'server' },
    host: { ...text, default: '127.0.0.1' },
    port: { ...text, default: '0' },
    cert: { ...text, default: '' },
    key: { ...text, default: '' },
    ca: { ...text, default: '' },
    name: { ...text, default: 'emulated' },
    'server-id': { ...text, default: 'emulated-server-id' },
    far: { ...text, default: 'link' },
    'health-ms': { ...text, default: '3000' },
    'dead-ms': { ...text, default: '15000' },
    'retry-ms': { ...text, default: '30000' },
    version: { ...text, default: '5' },
    'max-hops': { ...text, default: '-1' },
    groups: text,
    local: text,
    backlog: text,
    'rol-completes': { type: 'boolean', default: false },
    late: { type: 'boolean', default: false },
    deny: { type: 'boolean', default: false },
    linked: { ...text, default: '' },
  },
});

const parse = <T>(json: string | undefined): T | undefined => (json ? (JSON.parse(json) as T) : undefined);
const as = values.as === 'fedhub' ? 'fedhub' : 'takserver';
const serverId = values['server-id'];
const stamp: Stamp = {
  as,
  name: values.name,
  serverId,
  own: as === 'fedhub' ? `${serverId}-${randomBytes(4).toString('hex')}` : serverId,
  maxHops: Number(values['max-hops']),
};
const settings: Settings = {
  as,
  stamp,
  host: values.host,
  port: Number(values.port),
  cert: readFileSync(values.cert),
  key: readFileSync(values.key),
  ca: readFileSync(values.ca),
  far: values.far as Far,
  healthMs: Number(values['health-ms']),
  deadMs: Number(values['dead-ms']),
  retryMs: Number(values['retry-ms']),
  version: Number(values.version),
  groups: parse<GroupsInput>(values.groups),
  local: { contacts: [], events: [], ...parse<Partial<Settings['local']>>(values.local) },
  backlog: parse<RolInput[]>(values.backlog) ?? [],
  rolCompletes: values['rol-completes'],
  early: !values.late,
  deny: values.deny,
  linked: values.linked.split(',').filter((id) => id !== ''),
};
const role: Role = values.role === 'client' ? new ClientRole(settings) : new ServerRole(settings);

type Order = { readonly do: string } & Readonly<Record<string, unknown>>;
const orders: Readonly<Record<string, (order: Order) => void>> = {
  send: (order) => role.send('event', encodeEvent(order.event as EventInput, stamp)),
  contact: (order) => role.send('event', encodeContact(order.contact as ContactInput, stamp)),
  groups: (order) => role.send('groups', encodeGroups(order.groups as GroupsInput)),
  rol: (order) => role.send('rol', encodeRol(order.rol as RolInput, stamp)),
  empty: () => role.send('event', encode('FederatedEvent', {})),
  serving: () => role.send('groups', encodeGroups({ serving: true })),
  health: (order) => role.health(order.status as string | undefined),
  end: (order) => role.end(String(order.method), Number(order.code ?? 0), String(order.details ?? '')),
  stall: () => role.stall(true),
  resume: () => role.stall(false),
  goaway: () => role.goaway(),
  drop: () => role.drop(),
  vanish: () => process.kill(process.pid, 'SIGKILL'),
  stop: () => process.exit(0),
};

process.on('uncaughtException', (error) => violation('fault', String(error.stack)));
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const order = JSON.parse(line) as Order;
  const act = orders[order.do];
  if (!act) throw new Error(`no such order: ${order.do}`);
  act(order);
});
lines.on('close', () => process.exit(0)); // the test is gone
await role.start();
emit({ at: 'ready', as, role: values.role, own: stamp.own });
