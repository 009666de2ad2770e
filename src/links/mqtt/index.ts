// Events over topics of an MQTT 5 broker: a bridge to sensors and programs, or the backbone that several relays share.
import { createHash } from 'node:crypto';
import type { PeerSpec } from '../../core/session.ts';
import { LinkError } from '../../lib/errors.ts';
import type { LinkContext, LinkKind } from '../link.ts';
import { formatAddress } from '../stream.ts';
import { type Broker, connectBroker, type Filter } from './broker.ts';
import { tlsOf } from './broker-config.ts';
import { type MqttConfig, mqttSchema } from './config.ts';
import { PACKET_EXTRA_BYTES } from './limits.ts';
import { Early, MqttSession } from './session.ts';

/** Units behind the broker stay known through a reconnect. */
const GRACE_MS = 60_000;

export const mqttKind: LinkKind<MqttConfig> = {
  kind: 'mqtt',
  schema: mqttSchema,
  create: (config) => ({ run: (context) => run(config, context) }),
  ways({ broker }) {
    const { connect: address, tls } = broker;
    const way = { address, trust: tls ? tls.trust : [] };
    return {
      listens: [],
      dials: [tls ? { ...way, tls: (context: LinkContext) => tlsOf(broker, context)! } : way],
    };
  },
};

/** One connection. Resolves after abort; rejects with LinkError when it could not be made, was refused or ended. */
async function run(config: MqttConfig, context: LinkContext): Promise<void> {
  const { name } = context;
  const where = formatAddress(config.broker.connect);
  const spec: PeerSpec = { key: name, link: name, kind: 'mqtt', name: where, durable: true, graceMs: GRACE_MS };
  context.hub.expect(spec);
  if (context.signal.aborted) return;
  try {
    const loss = await converse(config, spec, context);
    if (!context.signal.aborted) throw loss ?? new LinkError('ended', `${where}: the connection ended`, '');
  } catch (error) {
    if (!context.signal.aborted) throw error;
  }
}

async function converse(config: MqttConfig, spec: PeerSpec, context: LinkContext): Promise<LinkError | undefined> {
  const early = new Early();
  let session: MqttSession | undefined;
  const broker = await connectBroker(
    config.broker,
    {
      clientId: config.broker.clientId ?? clientId(context),
      keepSessionSeconds: config.keepSessionSeconds,
      maxPacketBytes: config.maxEventBytes + PACKET_EXTRA_BYTES,
      onPublication: (publication, acknowledge) =>
        session ? session.receive(publication, acknowledge) : early.keep(publication, acknowledge),
    },
    context,
  );
  const end = () => (session ? session.close('shutdown') : broker.end());
  context.signal.addEventListener('abort', end, { once: true });
  try {
    await broker.subscribe(filtersOf(config, broker));
    if (broker.isOpen && !context.signal.aborted) {
      session = new MqttSession(broker, config, context);
      session.attach(spec, early);
      context.report('connected', broker.where);
    }
    const loss = await broker.closed;
    session?.lost(loss);
    return loss;
  } finally {
    context.signal.removeEventListener('abort', end);
    broker.end();
    await broker.closed;
  }
}

/** A shared subscription may not ask for "not my own" (MQTT 5 §3.8.3.1): there the path tells. */
function filtersOf({ subscribe, share, qos }: MqttConfig, broker: Broker): readonly Filter[] {
  if (share && !broker.allowed.shared) {
    const fix = 'Leave share out (every box then gets every event), or use a broker that has shared subscriptions.';
    throw new LinkError('no_sharing', `${broker.where} has no shared subscriptions`, fix);
  }
  return subscribe.map((topic) => ({
    topic: share ? `$share/${share}/${topic}` : topic,
    qos,
    noLocal: share === undefined,
  }));
}

/** The same at every start: a broker then ends a half-dead connection of ours when we come back. */
function clientId({ node, name }: LinkContext): string {
  return `waystation-${createHash('sha256').update(`${node.id}\n${name}`).digest('hex').slice(0, 12)}`;
}
