// Enrolment as TAK's apps do it on port 8446: HTTP Basic with the phone's name and its one-time code, a certificate request, the
// signed certificate, and the presets as a profile. The subject is ours, whatever the request says.
import * as z from 'zod';
import { BadRequest, keyOfRequest, MAX_CSR_BYTES } from '../../onboarding/csr.ts';
import { trustP12 } from '../../onboarding/p12.ts';
import { profilePackage } from '../../onboarding/packages.ts';
import type { PhoneInfo } from '../../onboarding/phones.ts';
import { xml } from '../../onboarding/preferences.ts';
import type { PhoneOffice } from '../phones.ts';
import { Refusal } from '../refusal.ts';
import { type Call, Reply, type Route, raw, route } from '../route.ts';

const tag = 'Enrolment';
const query = z.object({ clientUid: z.string().max(256).optional(), version: z.string().max(64).optional() });
/** What TAK's apps expect a P12 to be locked with. */
const V1_PASSWORD = 'atakatak';

type AnyCall = Call<unknown, unknown, unknown>;
/** PEM: the phone's certificate, then the CA's. */
type Issued = { readonly certPem: string };

export function enrollRoutes(office: PhoneOffice): Route[] {
  const sign = (path: string, summary: string, answer: (call: AnyCall, issued: Issued) => Promise<Reply> | Reply) =>
    route({
      method: 'POST',
      path,
      role: 'public',
      tag,
      summary,
      query,
      bodyKind: 'bytes',
      maxBodyBytes: MAX_CSR_BYTES,
      takes: 'application/octet-stream',
      handle: async (call) => {
        const { code } = credentials(office, call as AnyCall);
        const key = await keyOfRequest(call.body as unknown as Buffer).catch((error: unknown) => {
          if (!(error instanceof BadRequest)) throw error;
          throw new Refusal(400, 'bad_request', `the certificate request is refused: ${error.message}`);
        });
        const { phone, issued } = office.do((phones) => phones.enroll(code, key));
        office.taken(phone.name, 'enrolment', call.caller.address);
        call.note(`phone ${phone.name} enrolled`);
        return answer(call as AnyCall, issued);
      },
    });
  return [
    route({
      method: 'GET',
      path: '/Marti/api/tls/config',
      role: 'public',
      tag,
      summary: 'What a request may be made of',
      query,
      gives: 'application/xml',
      handle: (call) => {
        credentials(office, call as AnyCall);
        const box = xml(office.box().name);
        return raw(
          `<?xml version="1.0" encoding="UTF-8"?>\n<certificateConfig><nameEntries><nameEntry name="O" value="${box}"/><nameEntry name="OU" value="${box}"/></nameEntries></certificateConfig>\n`,
          'application/xml',
        );
      },
    }),
    sign('/Marti/api/tls/signClient', 'Signs a request; a P12 of certificates', async (_, { certPem }) =>
      raw(await trustP12(certPem, 'signedCert', V1_PASSWORD), 'application/octet-stream'),
    ),
    sign('/Marti/api/tls/signClient/v2', 'Signs a request; JSON or XML', ({ request }, { certPem }) => {
      const [signedCert = '', ca0 = ''] = bare(certPem);
      if (/\bxml\b/.test(request.headers.accept ?? '') && !/\bjson\b/.test(request.headers.accept ?? '')) {
        return raw(
          `<?xml version="1.0" encoding="UTF-8"?>\n<enrollment><signedCert>${signedCert}</signedCert><ca>${ca0}</ca></enrollment>\n`,
          'application/xml',
        );
      }
      // iTAK wants it as text.
      return raw(JSON.stringify({ signedCert, ca0 }), 'text/plain; charset=utf-8');
    }),
    route({
      method: 'GET',
      path: '/Marti/api/tls/profile/enrollment',
      role: 'public',
      tag,
      summary: 'Callsign, team and role of a phone that has just enrolled, as a package',
      query,
      gives: 'application/zip',
      handle: (call) => {
        const { phone } = credentials(office, call as AnyCall, 'enrolled');
        const made = profilePackage(office.box().name, phone.presets);
        if (!made) return new Reply(204);
        return raw(made.bytes, 'application/zip', {
          'content-disposition': `attachment; filename="${made.fileName}"`,
        });
      },
    }),
  ];
}

/** User name and password, both right. Anything else is a guess. @throws Refusal 401, 429 */
function credentials(
  office: PhoneOffice,
  { request, caller }: AnyCall,
  also: 'enrolled' | 'invited' = 'invited',
): { readonly phone: PhoneInfo; readonly code: string } {
  const { address } = caller;
  office.checkGuesses(address);
  const said = /^Basic ([A-Za-z0-9+/=]{1,512})$/i.exec(request.headers.authorization ?? '')?.[1];
  if (!said) throw unauthorized();
  const [, name = '', code = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(said, 'base64').toString('utf8')) ?? [];
  const { phones } = office;
  const phone = phones.byCode(code) ?? (also === 'enrolled' ? phones.enrolledBy(code) : undefined);
  if (phone && [phone.name, phone.id].some((one) => one.toLowerCase() === name.trim().toLowerCase())) {
    return { phone, code };
  }
  office.guessed(address);
  throw unauthorized();
}

function unauthorized(): Refusal {
  return new Refusal(401, 'bad_code', 'the name or the one-time code is wrong, or the code was used already', {
    fix: 'ask whoever runs this box for a new one',
    headers: { 'www-authenticate': 'Basic realm="Waystation"' },
  });
}

/** Base64 without PEM's armour. */
function bare(pem: string): string[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g)].map(([, body]) =>
    body!.replace(/\s+/g, ''),
  );
}
