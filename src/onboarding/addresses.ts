// What stands in QR codes and links: addresses that apps understand, and the picture of a text.
import { encode, renderUnicodeCompact } from 'uqr';
import type { Presets } from './presets.ts';

/** `http://host:port/join/CODE`, where the person chooses an app. */
export function joinUrl(base: string, code: string): string {
  return `${base}/join/${code}`;
}

/** The package itself. */
export function packageUrl(base: string, code: string, file: string): string {
  return `${base}/join/${code}/${file}`;
}

/** ATAK 5.1 and newer fetch and import it after one question. */
export function importLink(url: string): string {
  return `tak://com.atakmap.app/import?url=${encodeURIComponent(url)}`;
}

/** ATAK 5.1 and newer; trusts public CAs and its own, and checks the name. `host` may carry a port. */
export function enrollLink(host: string, username: string, token: string): string {
  const query = [`host=${encodeURIComponent(host)}`, `username=${encodeURIComponent(username)}`, `token=${token}`];
  return `tak://com.atakmap.app/enroll?${query.join('&')}`;
}

/**
 * ATAK 5.1 and newer, joined or not: asks once, then takes over callsign, team and role. '' when there is nothing to set. Holds
 * no secret and is good for ever.
 */
export function preferenceLink({ callsign, team, role }: Presets): string {
  const wanted = [
    ['locationCallsign', callsign],
    ['locationTeam', team],
    ['atakRoleType', role],
  ].filter(([, value]) => value !== '');
  const query = wanted.map(
    ([key, value], index) =>
      `key${index + 1}=${key}&type${index + 1}=string&value${index + 1}=${encodeURIComponent(value!)}`,
  );
  return query.length === 0 ? '' : `tak://com.atakmap.app/preference?${query.join('&')}`;
}

/** Joins the Wi-Fi. `\ ; , : "` are escaped, as the readers of such codes expect. */
export function wifiText(ssid: string, passphrase: string): string {
  const safe = (text: string) => text.replace(/[\\;,:"]/g, (one) => `\\${one}`);
  return passphrase === '' ? `WIFI:T:nopass;S:${safe(ssid)};;` : `WIFI:T:WPA;S:${safe(ssid)};P:${safe(passphrase)};;`;
}

/** Dark modules of the QR code of a text, as the path of an SVG `size` units wide, margin included. */
export function qrPath(text: string): { readonly size: number; readonly path: string } {
  const { data, size } = encode(text, { ecc: 'M', border: 4 });
  const path = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ''))).join('');
  return { size, path };
}

/** The same for a terminal, two rows of modules a line. */
export function qrText(text: string): string {
  return renderUnicodeCompact(text, { ecc: 'L', border: 2 });
}
