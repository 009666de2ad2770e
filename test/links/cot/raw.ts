// The far ends of a CoT stream as other programs are: phones that connect, servers with the quirks of their makes. Everything
// here works on plain strings and bytes, apart from the code under test.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import {
  type ConnectionOptions,
  createServer as createTlsServer,
  type TlsOptions,
  connect as tlsConnect,
} from 'node:tls';
import { changed, until } from '../memory.ts';

/** The far end of one connection: what it was sent, and what to send it. */
export class Raw {
  readonly socket: Socket;
  bytes = Buffer.alloc(0);
  /** Each piece as it was read. */
  readonly reads: Buffer[] = [];
  error: Error | undefined;

  constructor(socket: Socket, t: TestContext) {
    this.socket = socket;
    t.after(() => socket.destroy());
    socket.on('error', (error) => {
      this.error = error;
    });
    socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.reads.push(chunk);
      changed();
    });
    socket.on('close', changed);
  }

  /** Everything received, one character per byte. */
  get text(): string {
    return this.bytes.toString('latin1');
  }

  /** The XML events received before anything else: up to the last `</event>`. */
  get events(): readonly string[] {
    return this.text.match(/<event[\s\S]*?<\/event>/g) ?? [];
  }

  /** The TAK messages received after the XML. */
  get frames(): readonly Buffer[] {
    const frames: Buffer[] = [];
    let at = this.bytes.indexOf(0xbf, this.bytes.lastIndexOf('</event>') + 1);
    while (at >= 0 && at < this.bytes.length) {
      let length = 0;
      let pos = at + 1;
      for (let shift = 0; ; shift += 7) {
        const byte = this.bytes[pos++] ?? 0;
        length |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      if (this.bytes[at] !== 0xbf || pos + length > this.bytes.length) break;
      frames.push(this.bytes.subarray(pos, pos + length));
      at = pos + length;
    }
    return frames;
  }

  send(data: string | Buffer): void {
    this.socket.write(data);
  }

  /** The first event of that type, or with that uid. */
  event(typeOrUid: string): Promise<string> {
    return until(`the far end to get ${typeOrUid}`, () =>
      this.events.find((xml) => xml.includes(`type="${typeOrUid}"`) || xml.includes(`uid="${typeOrUid}"`)),
    );
  }

  frame(holding: string): Promise<Buffer> {
    return until(`the far end to get a frame with ${holding}`, () =>
      this.frames.find((frame) => frame.includes(holding)),
    );
  }

  get closed(): Promise<boolean> {
    return until('the end of the connection', () => this.socket.closed);
  }
}

export async function phone(t: TestContext, port: number): Promise<Raw> {
  const raw = new Raw(connect(port, '127.0.0.1'), t);
  await once(raw.socket, 'connect');
  return raw;
}

/** Resolves when its own handshake is done; under TLS 1.3 the server may still refuse it. */
export async function tlsPhone(t: TestContext, port: number, options: ConnectionOptions): Promise<Raw> {
  const raw = new Raw(tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }), t);
  await until('the handshake', () => raw.socket.closed || (raw.socket as { getProtocol?(): unknown }).getProtocol?.());
  return raw;
}

/** A TCP server of the test's own. */
export async function server(t: TestContext) {
  const connections: Raw[] = [];
  const port = await listen(t, (socket) => {
    connections.push(new Raw(socket, t));
    changed();
  });
  return { port, connection: (index = 0) => until(`connection ${index}`, () => connections[index]) };
}

/** A TLS server of the test's own. */
export async function tlsServer(t: TestContext, options: TlsOptions) {
  const connections: { readonly raw: Raw; readonly cn: string | undefined }[] = [];
  const tcp: Socket[] = [];
  const tls = createTlsServer(options, (socket) => {
    const { subject } = socket.getPeerCertificate();
    connections.push({ raw: new Raw(socket, t), cn: subject?.CN as string | undefined });
    changed();
  });
  tls.on('tlsClientError', () => {});
  const port = await listen(t, (socket) => {
    tcp.push(socket);
    socket.on('error', () => {});
    socket.on('close', changed);
    tls.emit('connection', socket);
  });
  return {
    port,
    connections,
    connection: (index = 0) => until(`connection ${index}`, () => connections[index]),
    idle: () => until('the end of every connection', () => tcp.length > 0 && tcp.every((socket) => socket.closed)),
  };
}

async function listen(t: TestContext, accept: (socket: Socket) => void): Promise<number> {
  const server = createServer(accept);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as { port: number }).port;
}

const iso = (offsetMs: number) => new Date(Date.now() + offsetMs).toISOString();

/** An event in ATAK's spelling. */
export function xml(uid: string, over: { type?: string; detail?: string } = {}): string {
  const { type = 'a-f-G-U-C', detail = `<contact callsign="${uid}-CALL" endpoint="*:-1:stcp"/>` } = over;
  return (
    `<?xml version='1.0' encoding='UTF-8' standalone='yes'?>` +
    `<event version='2.0' uid="${uid}" type="${type}" time='${iso(0)}' start='${iso(0)}' stale='${iso(60_000)}' how='m-g'>` +
    `<point lat='1.5' lon='2.5' hae='9999999.0' ce='9999999.0' le='9999999.0' /><detail>${detail}</detail></event>`
  );
}

export const ping = (uid: string) => xml(`${uid}-ping`, { type: 't-x-c-t', detail: '' });

const control = (uid: string, type: string, content: string) =>
  xml(uid, { type, detail: `<TakControl>${content}</TakControl>` });
export const offer = (uid: string, version = 1) =>
  control(uid, 't-x-takp-v', `<TakProtocolSupport version="${version}"/>`);
export const request = (uid: string, version = 1) => control(uid, 't-x-takp-q', `<TakRequest version="${version}"/>`);
export const response = (uid: string, status: boolean) =>
  control(uid, 't-x-takp-r', `<TakResponse status="${status}"/>`);

export const uidOf = (event: string): string => /uid="([^"]*)"/.exec(event)![1]!;
