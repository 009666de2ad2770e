// The hub's splice as a process of its own, for splice.ts: node splicer.ts PORT TARGET_PORT. What comes to PORT is joined
// with a connection to TARGET_PORT, as the two sides of a tunnel are.
import { connect, createServer } from 'node:net';
import { systemClock } from '../../src/lib/clock.ts';
import { Splice } from '../../src/links/portal/splice.ts';
import { tunnelsSchema } from '../../src/links/portal/tunnel-config.ts';
import { TUNNEL_IDLE_MS, TUNNEL_LINGER_MS, TUNNEL_STALL_MS } from '../../src/links/portal/tunnel-limits.ts';
import { TunnelQuota } from '../../src/links/portal/tunnel-quota.ts';

const [port = 0, target = 0] = process.argv.slice(2).map(Number);

createServer({ noDelay: true, keepAlive: true }, (one) => {
  one.pause();
  const other = connect({ port: target, host: '127.0.0.1', noDelay: true, keepAlive: true });
  const quota = new TunnelQuota(tunnelsSchema.parse({}), systemClock);
  other.once('connect', () =>
    new Splice(one, other, {
      clock: systemClock,
      idleMs: TUNNEL_IDLE_MS,
      lingerMs: TUNNEL_LINGER_MS,
      stallMs: TUNNEL_STALL_MS,
      spend: (bytes) => quota.spend(bytes),
      onEnd: () => process.exit(),
    }).begin(),
  );
}).listen(port, '127.0.0.1');
