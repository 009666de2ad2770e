import { fed2Kind } from '../../../src/links/fed2/index.ts';
import type { Link } from '../../../src/links/link.ts';
import { testIdentity } from '../../support/pki.ts';
import { describeLink } from '../contract.ts';
import { TcpWire } from '../wire.ts';

const MAX_BYTES = 65_536;

function link(keys: object): Link {
  return fed2Kind.create(fed2Kind.schema.parse({ max_message_bytes: MAX_BYTES, ...keys }));
}

describeLink('fed2', async (t) => {
  const wire = await TcpWire.open(t);
  const [east, west] = [testIdentity('east'), testIdentity('west')];
  return {
    wire,
    listener: link({ listen: '127.0.0.1:0' }),
    dialler: () => link({ connect: `127.0.0.1:${wire.port}` }),
    tooLarge: MAX_BYTES + 1,
    listenerOptions: { identity: east, trust: west.trust },
    diallerOptions: { identity: west, trust: east.trust },
  };
});
