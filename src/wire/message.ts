// What wire bytes say, for messages that were kept as bytes and are to be routed again.
import type { Message, Wire } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { scanCot } from './cot.ts';
import { scanFederated, scanRol } from './federation.ts';
import { messageOfRol } from './package.ts';
import { scanTak } from './tak.ts';

/** Throws ProtocolError. */
export function messageOf({ format, bytes }: Wire): Message {
  switch (format) {
    case 'xml':
      return { kind: 'event', event: scanCot(bytes) };
    case 'tak':
      return { kind: 'event', event: scanTak(bytes) };
    case 'fed': {
      const { event } = scanFederated(bytes);
      if (!event) throw new ProtocolError('missing_event', 'a federated message without an event');
      return { kind: 'event', event };
    }
    case 'rol':
      return messageOfRol(bytes, scanRol(bytes).summary);
    case 'blob':
      throw new ProtocolError('not_kept', 'files are not kept');
  }
}
