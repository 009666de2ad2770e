import { fed1Kind } from '../../../src/links/fed1/index.ts';
import type { Link } from '../../../src/links/link.ts';
import { testIdentity } from '../../support/pki.ts';
import { describeLink } from '../contract.ts';
import { TcpWire } from '../wire.ts';

function link(keys: object): Link {
  return fed1Kind.create(fed1Kind.schema.parse(keys));
}

const [east, west] = [testIdentity('east'), testIdentity('west')];
const OPTIONS = {
  listenerOptions: { identity: east, trust: west.trust },
  diallerOptions: { identity: west, trust: east.trust },
};

describeLink('fed1', async (t) => {
  const wire = await TcpWire.open(t);
  const limit = { max_message_bytes: 65_536 };
  return {
    wire,
    listener: link({ ...limit, listen: '127.0.0.1:0' }),
    dialler: () => link({ ...limit, connect: `127.0.0.1:${wire.port}` }),
    tooLarge: 65_537,
    ...OPTIONS,
  };
});

describeLink('fed1 with FreeTAKServer', async (t) => {
  const wire = await TcpWire.open(t);
  const profile = { profile: 'freetakserver' };
  return {
    wire,
    listener: link({ ...profile, listen: '127.0.0.1:0' }),
    dialler: () => link({ ...profile, connect: `127.0.0.1:${wire.port}` }),
    tooLarge: 16_381,
    ...OPTIONS,
  };
});
