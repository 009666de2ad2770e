// Two cot links joined for the contract suite: one listens, the other dials it through the suite's wire.
import type { TestContext } from 'node:test';
import { cotKind } from '../../../src/links/cot/index.ts';
import { testIdentity } from '../../support/pki.ts';
import { type RecordedSession, until } from '../memory.ts';
import { TcpWire } from '../wire.ts';

const home = testIdentity('home');
export const away = testIdentity('away');

const cot = (settings: object) => cotKind.create(cotKind.schema.parse(settings));

/** The dialler holds back while it waits for the answer to its request, and then says that there is room. */
export const agreed = (near: RecordedSession) => until('the agreement on TAK protocol 1', () => near.writables > 0);

export function pair(listen: object, connect: object, settled?: typeof agreed) {
  return async (t: TestContext) => {
    const wire = await TcpWire.open(t);
    return {
      wire,
      listener: cot({ listen: '127.0.0.1:0', ...listen }),
      dialler: () => cot({ connect: `127.0.0.1:${wire.port}`, ...connect }),
      tooLarge: 300_000,
      ...(settled ? { settled } : {}),
      listenerOptions: { identity: home },
      diallerOptions: { identity: away, trust: home.trust },
    };
  };
}
