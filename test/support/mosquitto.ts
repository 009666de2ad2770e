// A real broker and real clients: Debian's mosquitto and mosquitto-clients.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePorts } from './relay-process.ts';

const PATIENCE_MS = 60_000;

/** Why tests with mosquitto are skipped here; false: they are not. */
export const NO_MOSQUITTO = ['mosquitto', 'mosquitto_pub'].some((tool) => spawnSync(tool, ['-h']).error)
  ? 'mosquitto is not installed (Debian: mosquitto, mosquitto-clients)'
  : false;

export interface MosquittoOptions {
  /** Files to put beside its configuration, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** More lines of its configuration; FOLDER/ stands for where the files are. */
  readonly config?: string;
}

export class Mosquitto {
  readonly port: number;
  readonly folder: string;
  #child: ChildProcess | undefined;
  output = '';

  static async start(t: TestContext, { files = {}, config = 'allow_anonymous true' }: MosquittoOptions = {}) {
    const [port] = await freePorts(1);
    const folder = mkdtempSync(join(tmpdir(), 'waystation-mosquitto-'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const broker = new Mosquitto(port!, folder);
    const lines = `user root\nlistener ${port} 127.0.0.1\npersistence false\nlog_type all\n${config.replaceAll('FOLDER', folder)}\n`;
    writeFileSync(join(folder, 'mosquitto.conf'), lines);
    t.after(async () => {
      await broker.kill();
      rmSync(folder, { recursive: true, force: true });
    });
    await broker.run();
    return broker;
  }

  private constructor(port: number, folder: string) {
    this.port = port;
    this.folder = folder;
  }

  get where(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts it (again); resolves when it accepts connections. */
  async run(): Promise<void> {
    const args = ['-c', join(this.folder, 'mosquitto.conf')];
    const child = spawn('mosquitto', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (this.output += chunk));
    for (const deadline = Date.now() + PATIENCE_MS; !(await accepts(this.port)); ) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`mosquitto: ${this.output}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  /** Stops it where it stands, as a machine that hangs does. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Publishes with mosquitto_pub; resolves when it has. */
  async publish(topic: string, payload: string, ...args: string[]): Promise<void> {
    const child = spawn('mosquitto_pub', [
      ...this.#client(),
      '-q',
      '1',
      '-t',
      topic,
      payload === '' ? '-n' : '-s',
      ...args,
    ]);
    child.stdin.end(payload);
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}`);
  }

  /** Listens with mosquitto_sub; resolves when the broker has granted it. */
  async listen(t: TestContext, topic: string, ...args: string[]): Promise<Heard> {
    // One line each: topic, retained, expiry, user properties, payload.
    // Line by line (stdbuf): it would collect them for a pipe.
    const command = [
      '-oL',
      'mosquitto_sub',
      ...this.#client(),
      '-d',
      '-q',
      '1',
      '-t',
      topic,
      '-F',
      '%t\t%r\t%E\t%P\t%p',
    ];
    const child = spawn('stdbuf', [...command, ...args]);
    t.after(() => child.kill());
    const heard = new Heard(topic);
    let rest = '';
    child.stdout.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) heard.take(line);
    });
    await heard.until('a subscription', () => heard.granted);
    return heard;
  }

  #client(): string[] {
    return ['-h', '127.0.0.1', '-p', String(this.port), '-V', 'mqttv5'];
  }
}

export interface Said {
  readonly topic: string;
  readonly retained: boolean;
  readonly expiry: string;
  readonly properties: string;
  readonly payload: string;
}

/** What mosquitto_sub heard. */
export class Heard {
  readonly all: Said[] = [];
  granted = false;
  readonly #topic: string;

  constructor(topic: string) {
    this.#topic = topic;
  }

  take(line: string): void {
    if (line.startsWith('Subscribed')) this.granted = true;
    const parts = line.split('\t');
    if (parts.length < 5) return;
    const [topic, retained, expiry, properties, ...payload] = parts;
    const said = { topic: topic!, retained: retained === '1', expiry: expiry!, properties: properties! };
    this.all.push({ ...said, payload: payload.join('\t') });
  }

  /** The first that was said so, once it is. */
  said(is: (said: Said) => boolean, what = 'what was waited for'): Promise<Said> {
    return this.until(what, () => this.all.find(is));
  }

  async until<T>(what: string, find: () => T | undefined | false): Promise<T> {
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; ) {
      const found = find();
      if (found) return found;
      await new Promise((done) => setTimeout(done, 10));
    }
    throw new Error(`${this.#topic}: waited in vain for ${what}; heard ${JSON.stringify(this.all.slice(-5))}`);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => socket.end(() => resolve(true)));
    socket.on('error', () => resolve(false));
  });
}
