// What systemd hears, on a real datagram socket: by the systemd-notify program and by an inherited descriptor.
// Node cannot open such sockets, so python3 listens, and starts the process under test the way systemd would.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createNotifier } from '../../src/lib/notify.ts';

const MODULE = join(import.meta.dirname, '../../src/lib/notify.ts');

/** argv: socket path, 'fd' or 'program', the command to start. Prints each datagram as JSON; five are expected. */
const SYSTEMD = `
import json, os, socket, sys, time
path, way, command = sys.argv[1], sys.argv[2], sys.argv[3:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(path)
child = os.fork()
if child == 0:
    os.environ.update(NOTIFY_SOCKET=path, WATCHDOG_USEC='60000', WATCHDOG_PID=str(os.getpid()))
    if way == 'fd':
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        connected.connect(path)
        os.dup2(connected.fileno(), 10)
        os.dup2(10, 3)
        os.dup2(10, 4)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='other:notify')
    os.execvp(command[0], command)
heard = 0
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    listener.settimeout(20 if heard < 5 else 0.3)
    try:
        words = listener.recv(4096).decode()
    except socket.timeout:
        break
    print(json.dumps(words))
    heard += words != 'BARRIER=1'
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
`;

const SUBJECT = `
import { createNotifier } from ${JSON.stringify(MODULE)};
const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, LISTEN_PID, LISTEN_FDNAMES } = process.env;
const notifier = createNotifier({
  socket: NOTIFY_SOCKET, watchdogUsec: WATCHDOG_USEC, watchdogPid: WATCHDOG_PID,
  listenPid: LISTEN_PID, listenFdNames: LISTEN_FDNAMES,
}, (words) => { console.error(words); process.exitCode = 1; });
await notifier.ready('3 links\\nREADY=0');
await notifier.status('2 links');
let asked = 0;
await new Promise((resolve) => {
  const stop = notifier.startWatchdog(() => {
    if (++asked < 3) return true;
    stop();
    resolve();
    return false;
  });
  setTimeout(() => {}, 20_000); // the watchdog's timer alone keeps no process alive
});
await notifier.stopping();
process.exit();
`;

function missingTools(): string | false {
  for (const tool of ['python3', '/usr/bin/systemd-notify']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).status !== 0) return `${tool} is not installed`;
  }
  return false;
}

for (const way of ['program', 'fd']) {
  test(`systemd hears everything by ${way}`, { skip: missingTools() }, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'notify-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const node = [process.execPath, '--input-type=module-typescript', '--eval', SUBJECT];
    const args = ['-c', SYSTEMD, join(folder, 'socket'), way, ...node];
    const { status, stdout, stderr } = spawnSync('python3', args, { encoding: 'utf8', timeout: 30_000 });
    assert.equal(status, 0, stderr);
    const heard = stdout
      .trim()
      .split('\n')
      .map((line): string => JSON.parse(line));
    const states = heard
      .flatMap((datagram) => datagram.split('\n'))
      .filter((line) => !/^(MAINPID|BARRIER)=/.test(line));
    assert.deepEqual(states.slice(0, 3), ['READY=1', 'STATUS=3 links READY=0', 'STATUS=2 links']);
    // Pings wait for nobody, so the last ones may arrive in any order.
    assert.deepEqual(states.slice(3).sort(), ['STOPPING=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  });
}

const NOBODY = {
  socket: undefined,
  watchdogUsec: '1000',
  watchdogPid: undefined,
  listenPid: String(process.pid),
  listenFdNames: 'notify',
};

test('nothing is said when systemd did not start us', async (t) => {
  const troubles: string[] = [];
  const notifier = createNotifier(NOBODY, (words) => troubles.push(words));
  await notifier.ready('up');
  await notifier.status('still');
  await notifier.stopping();
  t.after(notifier.startWatchdog(() => true));
  assert.deepEqual(troubles, []);
});

test('a watchdog meant for another process is not fed', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let asked = 0;
  const notifier = createNotifier({ ...NOBODY, socket: '/nowhere', watchdogPid: '1' }, () => {});
  t.after(notifier.startWatchdog(() => ++asked > 0));
  t.mock.timers.tick(60_000);
  assert.equal(asked, 0);
});

test('what could not be told is said in words, and nothing rejects', async () => {
  const troubles: string[] = [];
  const closed = { ...NOBODY, socket: '/nowhere', listenFdNames: `${'x:'.repeat(2_000)}notify` }; // a descriptor nobody opened
  await createNotifier(closed, (words) => troubles.push(words)).ready('up');
  assert.equal(troubles.length, 1);
  assert.match(troubles[0]!, /could not be told READY=1.*EBADF/s);
});
