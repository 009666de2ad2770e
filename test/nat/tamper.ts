// A hub that alters what passes: node tamper.ts PORT TARGET_PORT. Stands in front of a hub's port; splices (they begin with P)
// lose a bit now and then once TLS is up, everything else passes untouched. Prints a line for every bit.
import { connect, createServer, type Socket } from 'node:net';

const [port = 0, target = 0] = process.argv.slice(2).map(Number);
/** The opening and the TLS handshake are left alone: a session that never begins is no test. */
const SPARED_BYTES = 6_000;
/** One chunk in so many. */
const EVERY = 10;

createServer({ noDelay: true }, (left) => {
  const right = connect({ port: target, host: '127.0.0.1', noDelay: true });
  let spliced: boolean | undefined;
  const pump = (from: Socket, into: Socket, alter: (chunk: Buffer) => void) => {
    from.on('data', (chunk: Buffer) => {
      alter(chunk);
      into.write(chunk);
    });
    from.on('error', () => {}).on('close', () => into.destroy());
  };
  let bytes = 0;
  let chunks = 0;
  pump(left, right, (chunk) => {
    spliced ??= chunk[0] === 0x50;
    bytes += chunk.length;
    if (!spliced || bytes < SPARED_BYTES || ++chunks % EVERY > 0) return;
    chunk[chunk.length >> 1]! ^= 4;
    process.stdout.write('altered\n');
  });
  pump(right, left, () => {});
}).listen(port);
