import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT_RING, EventLog } from '../../src/core/events.ts';

test('however many clients come and go, what is rare is still there; readers are told what they missed', () => {
  const log = new EventLog(() => 0);
  log.add({ type: 'config_refused', words: 'line 3' });
  for (let n = 0; n < 10_000; n++) {
    log.add({ type: 'peer_up', peer: `phones/${n}`, name: '', address: '' });
    log.add({ type: 'contact_joined', uid: `u${n}`, callsign: '', peer: `phones/${n}` });
  }
  const { events, missed } = log.since(0);
  assert.equal(events.length, 1 + 2 * EVENT_RING);
  assert.equal(missed, 20_001 - events.length);
  assert.equal(events[0]!.event.type, 'config_refused');
  assert.ok(
    events.every(({ id }, index) => index === 0 || id > events[index - 1]!.id),
    'in order',
  );
  assert.deepEqual(log.since(20_000), { missed: 0, events: events.slice(-1) });
  assert.deepEqual(log.since(20_001), { missed: 0, events: [] });
});
