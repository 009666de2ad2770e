// Phones over the API: list, add, renew, revoke, and the sheet to print. Codes are shown once, to whoever asked for them.
import * as z from 'zod';
import { qrText } from '../../onboarding/addresses.ts';
import { CODE_HOURS, MAX_CODE_HOURS, MAX_PHONES } from '../../onboarding/phones.ts';
import { phoneName, presets } from '../../onboarding/presets.ts';
import type { PageDeps } from '../page/routes.ts';
import { sheetDocument, wifiFields, wifiOf } from '../page/sheet.ts';
import type { Card, PhoneOffice } from '../phones.ts';
import { type Call, type Route, raw, route } from '../route.ts';

const tag = 'Phones';
export const hours = z.coerce.number().min(0.1).max(MAX_CODE_HOURS).default(CODE_HOURS);
export const host = z.string().max(255).optional();
export const network = z
  .string()
  .max(32)
  .optional()
  .describe('Network of this box that it is for: in others its certificate is refused. Default: main.');

const phone = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    presets,
    network: z
      .string()
      .describe('Network of this box that its certificates are for. Of phones made before that was kept: main.'),
    fingerprint: z.string(),
    seenMs: z.number().nullable(),
    connected: z.looseObject({ address: z.string(), callsign: z.string() }).nullable(),
  })
  .meta({ id: 'Phone' });

const invitation = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    network: z.string(),
    code: z.string(),
    endsAt: z.string(),
    join: z.string(),
    atak: z.string(),
    enroll: z.string(),
    preference: z.string(),
    qr: z.string(),
    trouble: z.string(),
  })
  .meta({ id: 'PhoneInvitation' });

const idParams = z.object({ id: z.string().max(128) });

export function phoneRoutes(office: PhoneOffice, page: Pick<PageDeps, 'clock'>): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/phones',
      role: 'operator',
      tag,
      summary: 'Phones that were given a certificate or a code, and when each was last here',
      answer: z.object({ phones: z.array(phone), trouble: z.string() }),
      handle: () => ({ phones: office.list(), trouble: office.trouble() }),
    }),
    route({
      method: 'POST',
      path: '/api/phones',
      role: 'operator',
      tag,
      summary: 'Adds a phone; the code it is invited with is shown here and nowhere else',
      body: presets.extend({ name: phoneName, network, hours, host }),
      answer: invitation,
      status: 201,
      handle: (call) => {
        const { name, network, hours, host, ...presets } = call.body;
        const card = cardFor(office, call, host, () => office.add({ name, presets, network, hours }));
        call.note(`phone ${card.invitation.phone.name} added`);
        return invitationOf(card, office);
      },
    }),
    route({
      method: 'POST',
      path: '/api/phones/{id}/renew',
      role: 'operator',
      tag,
      summary: 'A new code for a phone, by its id or name; its certificate stays good until the new one is used',
      params: idParams,
      body: z.strictObject({ hours, host }),
      answer: invitation,
      handle: (call) => {
        const { hours, host } = call.body;
        const card = cardFor(office, call, host, () => office.do((phones) => phones.renew(call.params.id, hours)));
        call.note(`new code for phone ${card.invitation.phone.name}`);
        return invitationOf(card, office);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/phones/{id}',
      role: 'operator',
      tag,
      summary: 'Revokes a phone, by its id, name or SHA256: fingerprint; it is cut off at once',
      params: idParams,
      answer: z.object({ revoked: z.string() }),
      handle: (call) => {
        const revoked = office.do((phones) => phones.revoke(call.params.id));
        call.note(`phone ${revoked} revoked`);
        return { revoked };
      },
    }),
    route({
      method: 'POST',
      path: '/api/phones/sheet',
      role: 'operator',
      tag,
      summary: 'A sheet to print, with a new code for each of these phones; empty: all that have no certificate yet',
      body: z.strictObject({
        phones: z.array(z.string().max(128)).max(MAX_PHONES).default([]),
        hours,
        host,
        ...wifiFields,
      }),
      gives: 'text/html',
      handle: (call) => {
        const { phones, hours, host: wanted, ...wifi } = call.body;
        const host = office.hostFor(wanted, call.request.headers.host);
        const cards = invite(office, phones, hours).map((one) => office.card(one, host));
        call.note(`sheet for ${cards.map(({ invitation }) => invitation.phone.name).join(', ')}`.slice(0, 500));
        const text = sheetDocument({ box: office.box(), cards, wifi: wifiOf(wifi), nowMs: page.clock.wallMs() });
        return raw(text, 'text/html; charset=utf-8', {
          'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        });
      },
    }),
  ];
}

/** New codes for these phones; none named: for all that have no certificate yet. */
export function invite(office: PhoneOffice, wanted: readonly string[], hours: number) {
  const ids =
    wanted.length > 0
      ? wanted.map((one) => office.do((phones) => phones.find(one)).id)
      : office
          .list()
          .filter(({ fingerprint }) => fingerprint === '')
          .map(({ id }) => id);
  return [...new Set(ids)].map((id) => office.do((phones) => phones.renew(id, hours)));
}

/** The host is judged before anything is changed. */
export function cardFor(
  office: PhoneOffice,
  { request }: Pick<Call<unknown, unknown, unknown>, 'request'>,
  wanted: string | undefined,
  make: () => Card['invitation'],
): Card {
  const host = office.hostFor(wanted, request.headers.host);
  return office.card(make(), host);
}

function invitationOf({ invitation, join, atak, enroll, preference }: Card, office: PhoneOffice) {
  const { phone, code, endsMs } = invitation;
  return {
    id: phone.id,
    name: phone.name,
    network: phone.network,
    code,
    endsAt: new Date(endsMs).toISOString(),
    join,
    atak,
    enroll,
    preference,
    qr: qrText(join),
    trouble: office.trouble(phone.network),
  };
}
