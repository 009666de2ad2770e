// What brokers do to us, in words: refusals, silence, noise.
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { explainSocketError } from '../stream.ts';
import { ANSWER_MS } from './limits.ts';

/** What ended a connection, or kept it from being made. */
export function explain(error: Error, where: string, opening: boolean): LinkError {
  if (error instanceof LinkError) return error;
  if (error instanceof ProtocolError) {
    const fix = opening
      ? 'Check that an MQTT 5 broker listens there, and whether it expects TLS.'
      : 'Look at the broker’s log.';
    return new LinkError(error.code, `${where}: ${error.message}`, fix, { cause: error });
  }
  const { code } = error as { code?: unknown };
  if (typeof code === 'number' && opening) return refused(where, code, error.message);
  if (typeof code === 'string') return explainSocketError(error, 'server', where);
  if (error.message === 'connack timeout') {
    const fix = 'Check that an MQTT 5 broker listens there, and whether it expects TLS; or it is overloaded.';
    return new LinkError('no_answer', `${where} does not answer as a broker within ${ANSWER_MS / 1000} s`, fix);
  }
  const words = /keepalive/i.test(error.message) ? 'the broker does not answer any more' : error.message;
  return new LinkError('broker_lost', `${where}: ${words}`, 'It is dialled again by itself.', { cause: error });
}

/** MQTT 5 §2.4: reason codes of CONNACK and DISCONNECT that a person can act on. */
export function refused(where: string, code: number, words: string): LinkError {
  const known = REASONS[code];
  if (known) return new LinkError(known[0], `${where}: ${known[1]}`, known[2]);
  return new LinkError('broker_refused', `${where}: ${words} (reason ${code})`, 'The broker’s log says why.');
}

const REASONS: Readonly<Record<number, readonly [string, string, string]>> = {
  132: [
    'mqtt_version',
    'the broker does not speak MQTT 5',
    'Use a broker that does: mosquitto 1.6, EMQX 4, HiveMQ, NanoMQ or newer.',
  ],
  1: [
    'mqtt_version',
    'the broker does not speak MQTT 5',
    'Use a broker that does: mosquitto 1.6, EMQX 4, HiveMQ, NanoMQ or newer.',
  ],
  133: ['client_id', 'the broker does not take our client id', 'Set client_id to one that it allows.'],
  134: ['bad_password', 'user name or password is wrong', 'Correct username and password_file.'],
  135: [
    'not_authorized',
    'the broker does not let us in',
    'Give this client a user in the broker, then username and password_file, or a certificate, here.',
  ],
  138: ['banned', 'the broker has banned this client', 'Lift the ban there.'],
  139: ['broker_stopping', 'the broker is being stopped', 'It is dialled again by itself.'],
  142: ['client_id_taken', 'another client connected with our client id', 'Give each box a client_id of its own.'],
};

export function hungUp(where: string): LinkError {
  return new LinkError(
    'closed',
    `${where} closed the connection`,
    'It is dialled again by itself; the broker’s log says why. If this repeats, another client may use our client_id.',
  );
}
