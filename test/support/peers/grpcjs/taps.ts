// Looks under grpc-js: the TLS sockets and HTTP/2 sessions it makes but does not show. Patching the module objects of
// node:tls and node:http2 is enough, as grpc-js calls through them.
import http2 from 'node:http2';
import tls from 'node:tls';
import type { SeenCertificate } from './judge.ts';

/** Told of every session of the process's gRPC servers. */
export function tapServerSessions(onSession: (session: http2.ServerHttp2Session, socket: tls.TLSSocket) => void): void {
  const create = http2.createSecureServer;
  const tapped = (...args: Parameters<typeof create>) => {
    const server = create(...args);
    // The session shows only a proxy of its socket, which cannot be destroyed.
    const sockets = new Map<string, tls.TLSSocket>();
    server.prependListener('secureConnection', (socket: tls.TLSSocket) => sockets.set(addressOf(socket), socket));
    server.on('session', (session) => {
      const address = addressOf(session.socket as tls.TLSSocket);
      onSession(session, sockets.get(address)!);
      sockets.delete(address);
    });
    return server;
  };
  http2.createSecureServer = tapped as typeof create;
}

/** Told of every TLS socket a gRPC channel of the process has secured. */
export function tapClientSockets(onSecure: (socket: tls.TLSSocket) => void): void {
  const connect = tls.connect;
  const tapped = (...args: unknown[]) => {
    const socket = (connect as (...all: unknown[]) => tls.TLSSocket)(...args);
    socket.once('secureConnect', () => onSecure(socket));
    return socket;
  };
  tls.connect = tapped as typeof connect;
}

/** Node shows a client what chain the server sent; a server cannot tell whether the client sent its CA. */
export function certificateOf(socket: tls.TLSSocket, side: 'server' | 'client'): SeenCertificate | undefined {
  const leaf = socket.getPeerX509Certificate();
  if (!leaf) return undefined;
  return {
    subject: leaf.subject,
    issuer: leaf.issuer,
    extendedUsages: leaf.keyUsage ?? [],
    chained: side === 'client' ? leaf.issuerCertificate !== undefined : undefined,
  };
}

export const addressOf = (socket: tls.TLSSocket): string => `${socket.remoteAddress}:${socket.remotePort}`;
