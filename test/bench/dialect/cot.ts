// CoT streams as phones speak them: XML events, one after the other.
import { xmlEvent } from '../payload.ts';
import { cutter, type Dialect } from './dialect.ts';
import { dial, sender } from './socket.ts';

const END = '</event>';

/** Up to the end of the first event; line breaks and XML declarations between events stay with the next. */
function eventLength(bytes: Buffer): number {
  const at = bytes.indexOf(END);
  return at < 0 ? 0 : at + END.length;
}

export const cot: Dialect = {
  async receive(endpoint, heard) {
    const socket = await dial(endpoint);
    socket.on('data', cutter(eventLength, heard));
  },
  async send(endpoint) {
    const socket = await dial(endpoint);
    socket.resume();
    return sender(socket, (event) => event);
  },
  event: xmlEvent,
};
