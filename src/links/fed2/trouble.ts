// What a peer's refusal means and what to do about it: gRPC status (tak-federation §2.10) to words for the page.
import type { CloseReason } from '../../core/reason.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { explainSocketError } from '../stream.ts';
import { type GrpcStatus, type Method, PATHS, STATUS, statusName } from './grpc.ts';
import { DUPLICATE_REDIAL_MS, REDIAL_MS } from './limits.ts';

interface Explanation {
  readonly code: string;
  readonly words: string;
  readonly fix: string;
  readonly retryAfterMs?: number;
}

/** The end of a connection that we dialled, to be redialled. */
export function trouble({ code, words, fix, retryAfterMs = REDIAL_MS }: Explanation, cause?: unknown): LinkError {
  return new LinkError(code, words, fix, { cause, retryAfterMs });
}

/** Puts the end of one of our calls into words. `where`: the peer's address. `proved`: the peer had accepted calls before. */
export function explainStatus(method: Method, status: GrpcStatus, where: string, proved: boolean): LinkError {
  const { code, words, fix, retryAfterMs } = meaning(method, status, proved);
  const said = status.words ? `: "${status.words}"` : '';
  return trouble({
    code,
    words: `${where} ${words} (${statusName(status.code)}${said})`,
    fix,
    ...(retryAfterMs ? { retryAfterMs } : {}),
  });
}

function meaning(method: Method, { code, words }: GrpcStatus, proved: boolean): Explanation {
  if (/disallowing duplicate|duplicate federate/i.test(words)) return DUPLICATE;
  if (/client identifiers/i.test(words)) return SHORT_CHAIN;
  switch (code) {
    case STATUS.internal:
      return proved ? FAULT : SHORT_CHAIN;
    case STATUS.permissionDenied:
      return NOT_IN_POLICY;
    case STATUS.deadlineExceeded:
      return HEALTH_MISSED;
    case STATUS.resourceExhausted:
      return TOO_MUCH;
    case STATUS.unauthenticated:
      return TOKEN_PORT;
    case STATUS.unimplemented:
      return { ...NOT_FEDERATION, words: `does not know ${PATHS[method]}` };
    case STATUS.unknown:
      return proved ? FAULT : REFUSED;
    default:
      return ENDED;
  }
}

const DUPLICATE: Explanation = {
  code: 'duplicate_federate',
  words: 'says that it is already connected to this certificate',
  fix:
    'Exactly one side may dial the other per pair of certificates: delete the outgoing federation over there, or this link. ' +
    'After a broken connection the TAK server may hold on to the old one for up to 15 minutes; it is tried again by itself.',
  retryAfterMs: DUPLICATE_REDIAL_MS,
};

const SHORT_CHAIN: Explanation = {
  code: 'chain_refused',
  words: 'could not make out who we are',
  fix:
    'TAK servers want our certificate together with the CA that signed it, both with a CN. If cert is set for this link, its ' +
    'file must hold the leaf and then the CA.',
};

const NOT_IN_POLICY: Explanation = {
  code: 'not_in_policy',
  words: 'does not let us in: its policy has no place for our CA',
  fix: 'On the Federation Hub, upload the CA certificate of this box, put its group into the policy graph, and activate the policy.',
};

const HEALTH_MISSED: Explanation = {
  code: 'health_missed',
  words: 'heard no health check of ours for 15 s',
  fix: 'The way to it was blocked or very slow for a while. It reconnects by itself.',
};

const TOO_MUCH: Explanation = {
  code: 'too_much',
  words: 'found a message too large, or the connection too busy',
  fix: 'Lower max_message_bytes and max_rol_bytes of this link to what the peer takes.',
};

const TOKEN_PORT: Explanation = {
  code: 'token_port',
  words: 'asks for a token instead of a certificate',
  fix: 'This is the token port of the peer: dial its certificate port, as a rule 9001 (TAK server) or 9102 (Federation Hub).',
};

const NOT_FEDERATION: Explanation = {
  code: 'not_federation',
  words: 'speaks gRPC, but not TAK federation',
  fix: 'Check address and port: a TAK server federates on 9001 as a rule, a Federation Hub on 9102.',
};

const REFUSED: Explanation = {
  code: 'federation_refused',
  words: 'refused the federation',
  fix: 'The log of the peer says why. Often: this box is dialled and dials at the same time, or its certificate is not enabled there.',
};

const FAULT: Explanation = {
  code: 'peer_fault',
  words: 'ended the federation with an error of its own',
  fix: 'The log of the peer says why. It reconnects by itself.',
};

const ENDED: Explanation = {
  code: 'peer_ended',
  words: 'ended the federation',
  fix: 'It reconnects by itself. If it stays so, the log of the peer says why.',
};

/** Why a connection is gone, from the error that node:http2 raised, if any. `peer`: the far end's TLS role. */
export function explainEnd(
  error: Error | undefined,
  peer: 'client' | 'server',
  where: string,
): { readonly reason: CloseReason; readonly cause: Error | undefined } {
  if (!error) return { reason: 'remote_closed', cause: undefined };
  const errorCode = (error as NodeJS.ErrnoException).code;
  // What nghttp2 could not read, and our own limits on floods.
  if (errorCode === 'ERR_HTTP2_ERROR' || errorCode === 'ERR_HTTP2_TOO_MANY_INVALID_FRAMES') {
    return { reason: 'protocol_error', cause: new ProtocolError('http2', error.message) };
  }
  if (errorCode?.startsWith('ERR_HTTP2_')) {
    return {
      reason: 'remote_closed',
      cause: trouble({ code: 'http2', words: `${where}: ${error.message}`, fix: '' }, error),
    };
  }
  const { code, message, fix } = explainSocketError(error, peer, where);
  return { reason: 'network_error', cause: trouble({ code, words: message, fix }, error) };
}
