// The MQTT link keeps the contract of a link; the other end is a broker that makes each of its clients a session.
import type { TestContext } from 'node:test';
import { mqttKind } from '../../../src/links/mqtt/index.ts';
import { testIdentity } from '../../support/pki.ts';
import { describeLink } from '../contract.ts';
import { TcpWire } from '../wire.ts';
import { brokerLink } from './fake-broker.ts';

const pair = (settings: object) => async (t: TestContext) => {
  const wire = await TcpWire.open(t);
  const connect = `127.0.0.1:${wire.port}`;
  return {
    wire,
    listener: brokerLink(),
    dialler: () => mqttKind.create(mqttKind.schema.parse({ connect, subscribe: 'cot', publish: 'cot', ...settings })),
    tooLarge: 300_000,
    diallerOptions: { identity: testIdentity('away') },
  };
};

describeLink('mqtt, acknowledged', pair({}));
describeLink('mqtt, not acknowledged', pair({ qos: 0 }));
