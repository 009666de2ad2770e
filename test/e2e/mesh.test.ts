// A relay between a mesh and phones that connect to it: tracks both ways, each once, also for a phone that is on both; and real
// interfaces that come, go and change their address under it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { phone } from '../support/cot-client.ts';
import { freePorts, RelayHome, SOURCE } from '../support/relay-process.ts';

const GROUP = `239.77.9.${(process.pid % 250) + 1}`;

function position(uid: string, at = Date.now()): string {
  const iso = (ms: number) => new Date(ms).toISOString();
  return `<?xml version="1.0"?><event version="2.0" uid="${uid}" type="a-f-G-U-C" how="m-g" time="${iso(at)}" start="${iso(at)}" stale="${iso(at + 60_000)}"><point lat="48.1" lon="24.5" hae="1" ce="9" le="9"/><detail><contact callsign="${uid}" endpoint="*:-1:stcp"/><__group name="Blue" role="Team Member"/></detail></event>`;
}

/** A device on the loopback interface: hears the group and speaks to it. */
async function device(t: TestContext, port: number) {
  const ear = createSocket({ type: 'udp4', reuseAddr: true });
  const mouth = createSocket('udp4');
  t.after(() => {
    ear.close();
    mouth.close();
  });
  ear.bind({ address: GROUP, port });
  mouth.bind({ address: '127.0.0.1', port: 0 });
  await Promise.all([once(ear, 'listening'), once(mouth, 'listening')]);
  ear.addMembership(GROUP, '127.0.0.1');
  mouth.setMulticastInterface('127.0.0.1');
  const heard: string[] = [];
  ear.on('message', (bytes) => heard.push(bytes.toString()));
  return { heard, say: (text: string) => mouth.send(text, port, GROUP) };
}

async function eventually(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}

test('phones and a mesh see each other, once, also a phone that is on both', async (t) => {
  const [api, tcp, sa, chat] = (await freePorts(4)) as [number, number, number, number];
  const relay = new RelayHome(t, 'mesh');
  relay.configure(
    api,
    `links:\n  - { name: phones, kind: cot, listen: ${tcp} }\n  - { name: mesh, kind: mesh, interfaces: [lo], sa: "${GROUP}:${sa}", chat: "${GROUP}:${chat}" }\n`,
  );
  await relay.start();
  await relay.until(
    ({ links }) => links.some(({ kind, state }) => kind === 'mesh' && state === 'listening'),
    'the mesh',
  );
  const onMesh = await device(t, sa);
  const [a, both] = [await phone(t, { port: tcp }), await phone(t, { port: tcp })];
  a.announce('STREAM-1', 'ONE');
  await eventually(() => onMesh.heard.some((text) => text.includes('STREAM-1')));
  onMesh.say(position('MESH-1'));
  await a.withUid('MESH-1');
  // On both: what it multicasts and what it streams is one event, told to the others once and to the mesh not again.
  const said = position('BOTH-1');
  onMesh.say(said);
  await a.withUid('BOTH-1');
  both.send(said);
  both.send(position('BOTH-1', Date.now() + 1_000));
  a.announce('STREAM-2', 'TWO');
  await eventually(() => onMesh.heard.some((text) => text.includes('STREAM-2')));
  await relay.until(({ peers }) => peers.some(({ received }) => (received.refused.duplicate ?? 0) >= 1), 'the copy');
  assert.equal(a.events.filter((event) => event.includes('uid="BOTH-1"')).length, 2, 'two positions, each once');
  assert.equal(onMesh.heard.filter((text) => text.includes('BOTH-1')).length, 1, 'only what it said itself');
});

const ns = `wsmesh${process.pid}`;
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

function namespacesTrouble(): string | false {
  try {
    ip('netns', 'add', `${ns}t`);
    ip('netns', 'del', `${ns}t`);
    return false;
  } catch {
    return 'network namespaces need root and iproute2';
  }
}

/** In Python, so that it is not our reading of the socket options that judges them. */
const LISTENER = `
import socket, struct, sys
group, port, address = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((group, port))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton(address)))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
print("ready", flush=True)
import threading
def hear():
    while True:
        print("heard " + s.recv(65535).decode().replace("\\n", " "), flush=True)
threading.Thread(target=hear, daemon=True).start()
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
for line in sys.stdin:
    out.sendto(line.strip().encode(), (group, port))
`;

test('a mesh over a real link: interfaces that go, come back and change their address', {
  skip: namespacesTrouble(),
}, async (t) => {
  const [relayNs, deviceNs] = [`${ns}a`, `${ns}b`];
  t.after(() => {
    for (const name of [relayNs, deviceNs]) {
      try {
        ip('netns', 'del', name);
      } catch {
        // it was never made
      }
    }
  });
  for (const name of [relayNs, deviceNs]) {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  ip('-n', relayNs, 'link', 'add', 'mesh0', 'type', 'veth', 'peer', 'name', 'dev0', 'netns', deviceNs);
  const address = (name: string, nic: string, act: 'add' | 'del', value: string) =>
    ip('-n', name, 'addr', act, value, 'dev', nic);
  const up = (name: string, nic: string, state: 'up' | 'down') => ip('-n', name, 'link', 'set', nic, state);
  address(deviceNs, 'dev0', 'add', '10.77.0.2/24');
  up(deviceNs, 'dev0', 'up');

  const [api, tcp] = (await freePorts(2)) as [number, number];
  const relay = new RelayHome(t, 'meshns', ['ip', 'netns', 'exec', relayNs, ...SOURCE]);
  relay.configure(
    api,
    `links:\n  - { name: mesh, kind: mesh, interfaces: [mesh0] }\n  - { name: phones, kind: cot, listen: ${tcp} }\n`,
  );
  const status = async (): Promise<string> => relay.command('status', '--json', '--api', relay.api);
  const reported = async (words: RegExp) => {
    while (!words.test(await status().catch(() => ''))) await sleep(200);
  };
  relay.launch();
  await reported(/no address on mesh0/);

  address(relayNs, 'mesh0', 'add', '10.77.0.1/24');
  up(relayNs, 'mesh0', 'up');
  await reported(/mesh0 10\.77\.0\.1/);
  const python = spawn('ip', [
    'netns',
    'exec',
    deviceNs,
    '/usr/bin/python3',
    '-c',
    LISTENER,
    '239.2.3.1',
    '6969',
    '10.77.0.2',
  ]);
  t.after(() => python.kill());
  const heard: string[] = [];
  createInterface({ input: python.stdout }).on('line', (line) => heard.push(line));
  await eventually(() => heard.includes('ready'));

  // Until it is heard: the switch of the namespaces may still learn.
  const crosses = async (uid: string) => {
    const arrived = async () => (await relay.command('status', '--json', '--api', relay.api)).length > 0;
    for (let tries = 0; ; tries++) {
      python.stdin.write(`${position(`${uid}-${tries}`)}\n`);
      await relay.command('inject', '--test', '--to', `127.0.0.1:${tcp}`);
      assert.ok(await arrived());
      const { peers } = JSON.parse(await status());
      const mesh = peers.find(({ kind }: { kind: string }) => kind === 'mesh');
      if (mesh?.received.events > 0 && heard.some((line) => line.includes('FED-TEST-1'))) return;
      await sleep(300);
    }
  };
  await crosses('FIRST');

  up(relayNs, 'mesh0', 'down');
  address(relayNs, 'mesh0', 'del', '10.77.0.1/24');
  await reported(/no address on mesh0/);
  heard.length = 0;
  address(relayNs, 'mesh0', 'add', '10.77.0.9/24');
  up(relayNs, 'mesh0', 'up');
  await reported(/mesh0 10\.77\.0\.9/);
  await crosses('SECOND');
});
