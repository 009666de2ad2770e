// A relay with fed1 links, a phone of its own, and emulated v1 peers (test/support/peers/legacy) that fit.
import type { TestContext } from 'node:test';
import { phoneSays } from '../../core/support.ts';
import { type Peer, type PeerOptions, startPeer } from '../../support/peers/spawn.ts';
import { testIdentity } from '../../support/pki.ts';
import { pairOf, type TestRelay } from '../fed2/interop-relay.ts';

type Flags = NonNullable<PeerOptions['flags']>;
type As = 'freetakserver' | 'takserver1';

const OUR_CA = testIdentity('relay').ca.certPem;

/** A peer that listens, for a link to dial. Its certificate is `far`'s, or another's that is named. */
export function listens(t: TestContext, as: As, flags: Flags = {}, { port = 0, cert = 'far' } = {}): Promise<Peer> {
  const { chainPem, keyPem } = pairOf(cert);
  return startPeer(t, { stack: 'python', as, role: 'server', port, chainPem, keyPem, caPem: OUR_CA, flags });
}

/** A peer that dials. Its certificate is `near`'s, or another's that is named. */
export function dials(t: TestContext, as: As, port: number, flags: Flags = {}, cert = 'near'): Promise<Peer> {
  const { chainPem, keyPem } = pairOf(cert);
  const given = { 'retry-ms': 200, ...flags };
  return startPeer(t, { stack: 'python', as, role: 'client', port, chainPem, keyPem, caPem: OUR_CA, flags: given });
}

export const fts = (peer: Peer, over: object = {}) => ({
  kind: 'fed1',
  connect: `127.0.0.1:${peer.port}`,
  profile: 'freetakserver',
  ...over,
});

export const tak1 = (peer: Peer, over: object = {}) => ({ kind: 'fed1', connect: `127.0.0.1:${peer.port}`, ...over });

/** A phone of the relay's own. */
export function phoneOf(relay: TestRelay, name = 'phone') {
  const phone = relay.phone(name);
  phone.says = phoneSays;
  return phone;
}

export interface Said {
  readonly type?: string;
  readonly how?: string;
  readonly detail?: string;
  readonly lat?: number;
}

/** An event as a phone says it now. */
export function said(uid: string, { type = 'a-f-G-U-C', how = 'm-g', lat = 48.1, detail }: Said = {}): string {
  const now = Date.now();
  const iso = (ms: number) => new Date(ms).toISOString();
  const inner =
    detail ??
    `<contact callsign="${uid.toUpperCase()}" endpoint="*:-1:stcp"/><status battery="77"/><track course="12.5" speed="3.5"/>`;
  return (
    `<event version="2.0" uid="${uid}" type="${type}" how="${how}" time="${iso(now)}" start="${iso(now)}" ` +
    `stale="${iso(now + 120_000)}"><point lat="${lat}" lon="24.5" hae="200.0" ce="10.0" le="9999999.0"/><detail>${inner}</detail></event>`
  );
}

/** A chat message to one, as ATAK writes it. */
export function chatTo(uid: string, from: string, to: { readonly uid: string; readonly callsign: string }): string {
  return said(uid, {
    type: 'b-t-f',
    how: 'h-g-i-g-o',
    detail:
      `<__chat id="${to.uid}" chatroom="${to.callsign}" senderCallsign="${from.toUpperCase()}" groupOwner="false">` +
      `<chatgrp id="${to.uid}" uid0="${from}" uid1="${to.uid}"/></__chat><remarks source="BAO.F.ATAK.${from}">hello</remarks>` +
      `<marti><dest callsign="${to.callsign}"/></marti>`,
  });
}
