// Relay to relay keeps the contract of a link. The suite knows links that make one connection per run; ours keeps its peers
// connected by itself, so here a run ends with its first connection.
import type { SessionPort } from '../../../src/core/session.ts';
import { childController } from '../../../src/lib/abort.ts';
import { LinkError } from '../../../src/lib/errors.ts';
import type { Link } from '../../../src/links/link.ts';
import { portalKind } from '../../../src/links/portal/index.ts';
import { testIdentity } from '../../support/pki.ts';
import { describeLink } from '../contract.ts';
import { TcpWire } from '../wire.ts';

const east = testIdentity('east');
const west = testIdentity('west');
const KEY = 'correct horse battery staple';

const portal = (settings: object) => portalKind.create(portalKind.schema.parse({ federation_key: KEY, ...settings }));

function oneConnection(link: Link): Link {
  return {
    async run(context) {
      const { controller, release } = childController(context.signal);
      const hub = Object.create(context.hub) as typeof context.hub;
      hub.attach = (spec, session): SessionPort => {
        const port = context.hub.attach(spec, session);
        const closed: SessionPort['closed'] = (reason, cause, returned) => {
          port.closed(reason, cause, returned);
          controller.abort();
        };
        return { ...port, closed };
      };
      await link.run({ ...context, hub, signal: controller.signal });
      release();
      if (!context.signal.aborted) throw new LinkError('ended', 'the connection ended', '');
    },
  };
}

/** The contract speaks of sizes on the wire. Packed records have tests of their own, and a busy machine answers as late as a thin line. */
const PLAIN = { compress: 'off' };

describeLink('portal', async (t) => {
  const wire = await TcpWire.open(t);
  return {
    wire,
    listener: portal({ listen: '127.0.0.1:0', peers: [{ name: 'west', pin: west.portal().fingerprint, ...PLAIN }] }),
    dialler: () =>
      oneConnection(
        portal({
          peers: [{ name: 'east', pin: east.portal().fingerprint, address: `127.0.0.1:${wire.port}`, ...PLAIN }],
        }),
      ),
    tooLarge: 1 << 20,
    listenerOptions: { identity: east },
    diallerOptions: { identity: west },
  };
});
