// A board in QEMU that starts from the image as the Raspberry Pi's firmware would: config.txt on the FAT partition of its own disk says
// which kernel. Killing it is a power cut; starting it again is a reset. The host reaches it through forwarded ports of 127.0.0.1.
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

/** image/build.sh: where the FAT partition begins. */
const BOOT_OFFSET = '4M';
const CARD_BYTES = 2 * 2 ** 30;
const KEEP_CHARS = 4_000_000;

export interface MachineOptions {
  readonly image: string;
  /** Its own folder: disk, kernel, console log. */
  readonly folder: string;
  /** Guest ports that the host may reach. */
  readonly ports?: readonly number[];
  /** Forwards also what phones on the box's own Wi-Fi ask: its port 80 at that address, here as port 80. */
  readonly captive?: string;
  /** No network card at all. */
  readonly offline?: boolean;
  /** A tap device of the host in place of the forwarded ports. */
  readonly tap?: string;
  /** What the board's clock says at start, as QEMU's -rtc base; default: a board without a clock (1970). */
  readonly clock?: string;
  readonly append?: string;
  /** The board's time jumps over what it idles away: a day of an idle box costs minutes. Whoever it talks to seems to answer late. */
  readonly hasty?: boolean;
  readonly cardBytes?: number;
}

type Qemu = ChildProcessByStdio<Writable, Readable, null>;

const switchedOn = new Set<Machine>();

/** No emulator outlives its scenario, however that ended. */
export async function cutAll(): Promise<void> {
  for (const machine of switchedOn) await machine.powerCut();
}

export class Machine {
  readonly disk: string;
  /** Guest port to host port. */
  readonly ports = new Map<number, number>();
  readonly #options: MachineOptions;
  #process: Qemu | undefined;
  #console = '';
  #startedMs = 0;

  constructor(options: MachineOptions) {
    this.#options = options;
    this.disk = join(options.folder, 'disk.img');
  }

  /** A fresh card. */
  async flash(): Promise<void> {
    mkdirSync(this.#options.folder, { recursive: true });
    execFileSync('cp', ['--sparse=always', this.#options.image, this.disk]);
    truncateSync(this.disk, this.#options.cardBytes ?? CARD_BYTES);
    for (const port of this.#options.ports ?? []) this.ports.set(port, await freePort());
  }

  /** A copy of another machine's card, taken while that one is off; with what it was doing, if it was frozen. */
  async cloneOf(other: Machine): Promise<void> {
    mkdirSync(this.#options.folder, { recursive: true });
    execFileSync('cp', ['--sparse=always', '--reflink=auto', other.disk, this.disk]);
    rmSync(this.#state, { force: true });
    if (existsSync(other.#state)) execFileSync('cp', ['--reflink=auto', other.#state, this.#state]);
    for (const port of this.#options.ports ?? []) this.ports.set(port, await freePort());
  }

  // ---- the card in a PC ------------------------------------------------------------------------------------------------

  put(name: string, content: string | Buffer): void {
    const file = join(this.#options.folder, 'put.tmp');
    writeFileSync(file, content);
    this.putFile(name, file);
    rmSync(file);
  }

  putFile(name: string, file: string): void {
    execFileSync('mcopy', ['-o', '-i', this.#fat, file, `::${name}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  take(name: string): Buffer {
    return execFileSync('mtype', ['-i', this.#fat, `::${name}`], {
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Names in the FAT's root, as a PC shows them. */
  list(): readonly string[] {
    return execFileSync('mdir', ['-b', '-i', this.#fat, '::'], { encoding: 'utf8' })
      .split('\n')
      .map((line) => line.replace(/^::\//, '').replace(/\/$/, ''))
      .filter(Boolean);
  }

  get #fat(): string {
    return `${this.disk}@@${BOOT_OFFSET}`;
  }

  // ---- power -------------------------------------------------------------------------------------------------------------

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** What it was doing is forgotten: from now on it starts. */
  melt(): void {
    rmSync(this.#state, { force: true });
  }

  /** A command of QEMU's monitor, by the answer of which nobody waits. */
  async monitor(command: string): Promise<void> {
    const monitor = connect(join(this.#options.folder, 'monitor'));
    await once(monitor, 'connect');
    monitor.resume();
    monitor.on('error', () => {}); // it may end with the machine
    monitor.end(`${command}\n`);
    await once(monitor, 'close');
  }

  get #state(): string {
    return join(this.#options.folder, 'state');
  }

  /** Has it a moment to go on from? */
  get frozen(): boolean {
    return existsSync(this.#state);
  }

  /** Stops in the middle of whatever it does; `thaw` goes on from there, also in a clone. */
  async freeze(): Promise<void> {
    await this.monitor(`migrate "exec:cat >'${this.#state}'"\nquit`);
    await this.off(900_000);
    if (!existsSync(this.#state)) throw new Error('it could not be frozen');
  }

  /** Goes on where it was frozen. Its connections are gone, as if the network had been away. */
  thaw(): void {
    this.start(['-incoming', `exec:cat '${this.#state}'`]);
  }

  start(more: readonly string[] = []): void {
    if (this.#process) throw new Error('it runs already');
    const { folder, offline, clock, append, captive, tap, hasty } = this.#options;
    const { kernel, initrd, cmdline } = this.#firmware();
    writeFileSync(join(folder, 'kernel'), kernel);
    writeFileSync(join(folder, 'initrd'), initrd);
    const address = (guest: number) => (guest === 80 && captive ? captive : '');
    const forwards = [...this.ports].map(
      ([guest, host]) => `,hostfwd=tcp:127.0.0.1:${host}-${address(guest)}:${guest}`,
    );
    const backend = tap ? `tap,id=n0,ifname=${tap},script=no,downscript=no` : `user,id=n0,ipv6=off${forwards.join('')}`;
    const network = offline ? ['-net', 'none'] : ['-netdev', backend, '-device', 'virtio-net-pci,netdev=n0,romfile='];
    const args = [
      ...['-M', 'virt', '-cpu', 'cortex-a53', '-smp', '2', '-m', '1024'],
      // The guest's time is what it executes, at 250 million instructions a second: a busy host makes it slow, not late, so that its
      // timeouts and its watchdog mean what they mean on a board.
      ...['-accel', 'tcg,thread=single', '-icount', `shift=2,align=off,sleep=${hasty ? 'off' : 'on'}`],
      ...['-display', 'none', '-nodefaults', '-no-reboot', '-serial', 'stdio'],
      ...['-monitor', `unix:${join(folder, 'monitor')},server=on,wait=off`],
      ...['-drive', `if=none,id=d0,file=${this.disk},format=raw,cache=writeback`, '-device', 'virtio-blk-pci,drive=d0'],
      ...network,
      ...['-device', 'virtio-rng-pci', '-device', 'qemu-xhci', '-device', 'i6300esb', '-watchdog-action', 'reset'],
      ...['-rtc', `base=${clock ?? '1970-01-01T00:00:00'}`],
      ...['-kernel', join(folder, 'kernel'), '-initrd', join(folder, 'initrd')],
      ...['-append', `${cmdline} console=ttyAMA0 systemd.show_status=1 systemd.log_color=0 ${append ?? ''}`],
      ...more,
    ];
    this.#console = '';
    this.#startedMs = performance.now();
    const qemu = spawn('nice', ['-n', '2', 'qemu-system-aarch64', ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process = qemu;
    switchedOn.add(this);
    const log = createWriteStream(join(folder, 'console.log'), { flags: 'a' });
    log.write(`\n==== start ${new Date().toISOString()} ${cmdline}\n`);
    qemu.stdout.on('data', (chunk: Buffer) => {
      log.write(chunk);
      this.#console = (this.#console + chunk.toString('latin1')).slice(-KEEP_CHARS);
    });
    qemu.on('exit', () => {
      log.end();
      if (this.#process !== qemu) return;
      this.#process = undefined;
      switchedOn.delete(this);
    });
  }

  /** Since the last start. */
  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  async powerCut(): Promise<void> {
    const qemu = this.#process;
    if (!qemu) return;
    const gone = once(qemu, 'exit');
    // `nice` execs QEMU: this is QEMU's own process.
    qemu.kill('SIGKILL');
    await gone;
  }

  /** Resolves when the machine switched itself off or asked for a reset (-no-reboot makes both an exit). */
  async off(withinMs: number): Promise<void> {
    const until = performance.now() + withinMs;
    while (this.#process) {
      if (performance.now() > until) throw new Error(`still running after ${withinMs / 1000} s\n${this.tail()}`);
      await sleep(100);
    }
  }

  // ---- console -------------------------------------------------------------------------------------------------------------

  tail(chars = 3000): string {
    return this.#console.slice(-chars);
  }

  get console(): string {
    return this.#console;
  }

  /** Since the last start. */
  async says(pattern: RegExp, withinMs: number): Promise<RegExpExecArray> {
    const until = performance.now() + withinMs;
    for (;;) {
      const match = pattern.exec(this.#console);
      if (match) return match;
      if (!this.#process) throw new Error(`it went off before it said ${pattern}\n${this.tail()}`);
      if (performance.now() > until) throw new Error(`did not say ${pattern} in ${withinMs / 1000} s\n${this.tail()}`);
      await sleep(100);
    }
  }

  type(line: string): void {
    this.#process?.stdin.write(`${line}\n`);
  }

  // ---- the firmware ----------------------------------------------------------------------------------------------------------

  /** What the board would load: config.txt's [all] lines, then the slot's own folder. */
  #firmware(): { kernel: Buffer; initrd: Buffer; cmdline: string } {
    const settings = new Map<string, string>();
    let section = 'all';
    for (const line of this.take('config.txt').toString('latin1').split('\n')) {
      const text = line.trim();
      if (text.startsWith('[')) section = text.slice(1, -1);
      else if (section !== 'all' || text.startsWith('#')) continue;
      else if (text.startsWith('initramfs ')) settings.set('initramfs', text.split(/\s+/)[1]!);
      else if (text.includes('=')) settings.set(text.split('=')[0]!, text.slice(text.indexOf('=') + 1));
    }
    const prefix = settings.get('os_prefix') ?? '';
    const file = (key: string, otherwise: string) => this.take(`${prefix}${settings.get(key) ?? otherwise}`);
    const kernel = file('kernel', 'kernel8.img');
    const cmdline = file('cmdline', 'cmdline.txt').toString().trim();
    return {
      kernel: kernel[0] === 0x1f && kernel[1] === 0x8b ? gunzipSync(kernel) : kernel,
      initrd: file('initramfs', 'initrd.img'),
      // The virtual board has another serial port than the Pi's.
      cmdline: cmdline.replace(/ console=\S+/g, ''),
    };
  }

  /** The slot config.txt names, and whether it is on trial. */
  get slot(): string {
    const text = this.take('config.txt').toString('latin1');
    return `${/os_prefix=(\w)\//.exec(text)?.[1]}${/^# trial/m.test(text) ? ' on trial' : ''}`;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** May somebody listen on that port of 127.0.0.1? */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}
