// Words for the end of a CoT connection that was up.
import { LinkError } from '../../lib/errors.ts';
import { explainSocketError } from '../stream.ts';

/** Why the socket failed. `peer`: the part the far end plays; `where`: its address. */
export function explainLoss(error: Error, peer: 'client' | 'server', where: string): LinkError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return new LinkError('reset', `${where} cut the connection`, peer === 'server' ? RESET_FIX : '', { cause: error });
  }
  if (code === 'ETIMEDOUT' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH') {
    return new LinkError('vanished', `${where} cannot be reached any more`, VANISHED_FIX, { cause: error });
  }
  return explainSocketError(error, peer, where);
}

const RESET_FIX =
  'It is dialled again by itself. If this comes right after connecting, the server does not accept our certificate or password: its log says why.';
const VANISHED_FIX = 'The network between was lost. It comes back by itself.';
