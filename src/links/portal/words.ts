// What went wrong between relays, in words for the page and the log, with what to do about it. A wrong certificate and a
// wrong key are told apart on both sides.
import { LinkError } from '../../lib/errors.ts';
import { FRAME, portalFrame } from '../../wire/portal.ts';
import { responseBody } from '../../wire/portal-bodies.ts';
import type { Trouble } from '../link.ts';
import { SHUT_OUT_MS, TWINS_MS, WRONG_KEYS } from './limits.ts';
import { pinWords } from './secure.ts';
import type { Box } from './twins.ts';

/** Of what a peer says for people. */
const MAX_QUOTED = 200;

/** A RESPONSE of the handshake that refuses. `words` must fit into MAX_BODY_BEFORE_AUTH. */
export function refusalFrame(status: number, words: string): Buffer {
  return portalFrame(FRAME.response, responseBody({ status, body: Buffer.from(words) }));
}

export const UNKNOWN_FRAME = refusalFrame(403, 'this certificate is not known here');
export const WRONG_KEY_FRAME = refusalFrame(401, 'wrong federation key');
export const TWIN_FRAME = refusalFrame(409, 'another box has this certificate');

const KEY_FIX =
  'Both relays need the same federation_key, to the letter. Compare them; white space around the one in a federation_key_file does not count.';

/** Server: the certificate is right, the key is not. */
export function wrongKey(peer: string): Trouble {
  const words = `${peer} showed the right certificate, but does not have our federation key`;
  return { code: 'wrong_key', words, fix: KEY_FIX };
}

export const SHUT_OUT: Trouble = {
  code: 'shut_out',
  words: `shut out for ${SHUT_OUT_MS / 1000} s after ${WRONG_KEYS} wrong federation keys`,
  fix: KEY_FIX,
};

/** Server: another than the configured certificates. */
export function unknownCertificate(address: string, pin: string): Trouble {
  return {
    code: 'not_pinned',
    words: `${address} showed a certificate that is no peer's: ${pinWords(pin)}`,
    fix: 'If this relay is welcome, compare the fingerprint with its operator ("waystation cert show" over there, under portal) and add it to peers.',
  };
}

/** Server: many connections, none proven. */
export const TOO_MANY_UNPROVEN: Trouble = {
  code: 'handshake_limit',
  words: 'too many connections from there had not proved who they are; the oldest was closed',
  fix: 'Relays try again by themselves. If it stays so, somebody floods this port: close it to strangers with a firewall.',
};

export function claimedName(peer: string, claimed: string): Trouble {
  return {
    code: 'name_claimed',
    words: `${peer} calls itself ${claimed}, which is the name of another peer; it stays ${peer}, by its certificate`,
    fix: `If the two were mixed up, exchange their pins. Otherwise ask the operator of ${peer} what it is up to.`,
  };
}

export function twinTrouble(peer: string, box: Box, rival: Box): Trouble {
  const names = (one: Box) => `${one.nodeId || 'a box'} at ${one.address}`;
  return {
    code: 'two_boxes',
    words: `two boxes come with the certificate of ${peer}: ${names(rival)}, which stays, and ${names(box)}`,
    fix: 'One is a copy of the other, as by a cloned SD card. Delete the identity folder in the data folder of the copy, restart it, and give it a pin of its own.',
  };
}

/** A peer's own words, fit for a line of ours. */
export function plainText(body: Buffer): string {
  return body
    .toString('utf8', 0, MAX_QUOTED)
    .replace(/[\p{Cc}\p{Cf}]/gu, ' ')
    .trim();
}

/** Client: what the server's refusal means. `said`: its own words. */
export function refusedBy(status: number, said: string, where: string, ourPin: string): LinkError {
  const quoted = said ? ` ("${said}")` : '';
  switch (status) {
    case 401:
      return new LinkError(
        'wrong_key',
        `${where} accepts our certificate, but not our federation key${quoted}`,
        KEY_FIX,
        {
          retryAfterMs: SHUT_OUT_MS,
        },
      );
    case 403:
      return new LinkError('not_known', `${where} does not know our certificate${quoted}`, notKnownFix(ourPin));
    case 409:
      return new LinkError('two_boxes', `${where} says that another box has our certificate${quoted}`, TWIN_FIX, {
        retryAfterMs: TWINS_MS,
      });
    default:
      return new LinkError('refused', `${where} refused us with ${status}${quoted}`, 'Its log says why.');
  }
}

function notKnownFix(ourPin: string): string {
  return `Ask its operator to add this relay to its peers, with this pin: ${pinWords(ourPin)}`;
}

const TWIN_FIX =
  'If this box was copied from another (a cloned SD card), delete the identity folder in its data folder and restart it: it then makes an identity of its own, whose pin the peers must be told.';

export function reflected(where: string): LinkError {
  const words = `${where} sent us our own challenge back, to have us answer it`;
  return new LinkError(
    'reflected_challenge',
    words,
    'It is no honest relay, or something between is not. Nothing was told to it.',
  );
}

export function silentGreeting(where: string, seconds: number): LinkError {
  const words = `${where} did not finish the handshake within ${seconds} s`;
  return new LinkError('handshake_timeout', words, 'Check that a relay listens there; it is tried again by itself.');
}

export function hungUp(where: string): LinkError {
  const words = `${where} closed the connection during the handshake`;
  return new LinkError('reset', words, 'Its log may say why. It is tried again by itself.');
}

/** Our own connection gave way to one that the peer had made meanwhile: nothing is wrong. */
export function gaveWay(where: string): LinkError {
  return new LinkError('gave_way', `another connection with ${where} came first`, '');
}
