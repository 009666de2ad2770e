// `waystation phone`: phones of the running relay get their certificates, lose them, and get sheets to print.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FatalError } from '../lib/errors.ts';
import { API_HELP, API_OPTIONS, type ApiTarget, askApi, askJson, findApi, refusal, sendJson } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { duration } from './status.ts';
import { table } from './table.ts';

/** Many keys and codes on a slow board. */
const TIMEOUT_MS = 60_000;

interface Phone {
  readonly id: string;
  readonly name: string;
  readonly network: string;
  readonly presets: Readonly<Record<string, string>>;
  readonly fingerprint: string;
  readonly seenMs: number | null;
  readonly codeEndsMs: number | null;
  readonly moved?: { readonly to: string; readonly atMs: number } | null;
  readonly connected: { readonly address: string; readonly callsign: string } | null;
}

interface Invitation {
  readonly name: string;
  readonly code: string;
  readonly endsAt: string;
  readonly join: string;
  readonly atak: string;
  readonly enroll: string;
  readonly preference: string;
  readonly qr: string;
  readonly trouble: string;
}

export const phoneCommand: Command = {
  name: 'phone',
  usage:
    'list | add NAME [--callsign C] [--team T] [--role R] [--report SECONDS] [--network N] | renew PHONE | revoke PHONE | move PHONE --to PARTNER | sheet [PHONE…] [--out FILE]',
  summary: 'Give phones their connection package, list them, revoke them, print a sheet for a vehicle',
  help: [
    '  list              every phone: its certificate, when it was last here',
    '  add NAME          a code, a QR code and links for one phone; it works once',
    '  renew PHONE       a new code (PHONE: name or id); the old certificate ends when the new one is first used',
    '  revoke PHONE      cuts it off at once and for good; takes a SHA256: fingerprint, too',
    '  move PHONE        hands it over to the box of that partner (--to), where it is let in with the certificate it has',
    '  sheet PHONE…      a page to print, with a new code for each; without names: all that have no certificate yet',
    '',
    '  --callsign, --team, --role   what the phone is to be called and belong to (default: as the phone has it)',
    '  --report SECONDS             time that ATAK lets pass between two positions, at the least: 5, 10, 20, 30 or 60',
    '  --network NAME    add: the network of the box that it is for; in others its certificate is refused (default: main)',
    '  --host HOST       name or address phones reach this box by (default: found by itself)',
    '  --hours N         how long the code is good (default 24, most 168)',
    '  --ssid NAME, --passphrase WORDS   a Wi-Fi code on the sheet; not kept',
    '  --out FILE        where the sheet goes (default: printed)',
    '  --json            as JSON',
    API_HELP,
  ].join('\n'),
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        callsign: { type: 'string' },
        team: { type: 'string' },
        role: { type: 'string' },
        report: { type: 'string' },
        network: { type: 'string' },
        host: { type: 'string' },
        hours: { type: 'string' },
        ssid: { type: 'string' },
        to: { type: 'string' },
        passphrase: { type: 'string' },
        out: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const [what = '', ...names] = positionals;
    const api = await findApi(values, context);
    const { callsign, team, role, report, network, host, hours, ssid, passphrase } = values;
    const when = { ...given({ host }), ...(hours === undefined ? {} : { hours: Number(hours) }) };
    if (what === 'list' && names.length === 0) return list(api, values.json, context);
    if (what === 'sheet') {
      const body = { phones: names, ...when, ...given({ ssid, passphrase }) };
      return sheet(api, body, values.out, context);
    }
    const [name, ...more] = names;
    if (name === undefined || more.length > 0)
      throw new UsageError('say list, add, renew, revoke and one phone, or sheet');
    const path = `/api/phones/${encodeURIComponent(name)}`;
    if (what === 'add') {
      const body = { name, ...given({ callsign, team, role, report, network }), ...when };
      return invited(
        await sendJson<Invitation>(api, 'POST', '/api/phones', body, context.signal),
        values.json,
        context,
      );
    }
    if (what === 'renew') {
      const made = await sendJson<Invitation>(api, 'POST', `${path}/renew`, when, context.signal);
      return invited(made, values.json, context);
    }
    if (what === 'move' && values.to !== undefined) {
      const moved = await sendJson<{ name: string; join: string; code: string }>(
        api,
        'POST',
        `${path}/move`,
        { to: values.to },
        context.signal,
      );
      context.out(
        `${name} is known at ${values.to} as ${moved.name}, by the certificate it has; for its package there: ${moved.join} (code ${moved.code})`,
      );
      return EXIT.ok;
    }
    if (what !== 'revoke') throw new UsageError(`there is no "phone ${what}"`);
    const { revoked } = await askJson<{ revoked: string }>(api, path, { method: 'DELETE', signal: context.signal });
    context.out(`${revoked} is revoked and cut off`);
    return EXIT.ok;
  },
};

function given(said: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(said).filter((pair): pair is [string, string] => pair[1] !== undefined));
}

function presetWords({ callsign, team, role, report }: Phone['presets']): string {
  return [callsign, team, role, report && `every ${report} s`].filter(Boolean).join(', ');
}

async function list(api: ApiTarget, json: boolean, context: CliContext): Promise<number> {
  const { phones, trouble } = await askJson<{ phones: Phone[]; trouble: string }>(api, '/api/phones', {
    signal: context.signal,
  });
  if (json) context.out(JSON.stringify(phones, null, 2));
  else {
    const nowMs = Date.now();
    const rows = phones.map((phone) => [
      phone.id,
      phone.name,
      phone.network,
      presetWords(phone.presets),
      stateOf(phone, nowMs),
      phone.fingerprint.slice(0, 16),
    ]);
    context.out(table(['ID', 'NAME', 'NETWORK', 'PRESETS', 'STATE', 'SHA-256'], rows).join('\n'));
  }
  if (trouble) context.err(trouble);
  return EXIT.ok;
}

function stateOf({ moved, ...phone }: Phone, nowMs: number): string {
  const state = presenceOf(phone, nowMs);
  return moved ? `moved to ${moved.to} ${duration(Math.max(0, nowMs - moved.atMs))} ago; ${state}` : state;
}

function presenceOf({ connected, seenMs, fingerprint, codeEndsMs }: Phone, nowMs: number): string {
  if (connected) return `here now, from ${connected.address}`;
  if (seenMs !== null) return `last here ${duration(Math.max(0, nowMs - seenMs))} ago`;
  if (fingerprint !== '') return 'has its package, never connected';
  return codeEndsMs === null ? 'code not used in time' : `code waits until ${new Date(codeEndsMs).toISOString()}`;
}

function invited(made: Invitation, json: boolean, context: CliContext): number {
  if (json) context.out(JSON.stringify(made, null, 2));
  else {
    const { name, code, endsAt, join, atak, enroll, preference, qr } = made;
    context.out(
      [
        qr,
        `${name}: scan this with its camera, or open ${join}`,
        `code         ${code}, once, until ${endsAt}`,
        `ATAK 5.1+    ${atak}`,
        ...(enroll ? [`enrol        ${enroll}`] : []),
        ...(preference ? [`presets      ${preference}`] : []),
      ].join('\n'),
    );
  }
  if (made.trouble) context.err(made.trouble);
  return EXIT.ok;
}

async function sheet(api: ApiTarget, body: unknown, out: string | undefined, context: CliContext): Promise<number> {
  const answer = await askApi(api, '/api/phones/sheet', {
    method: 'POST',
    body: JSON.stringify(body),
    type: 'application/json',
    timeoutMs: TIMEOUT_MS,
    signal: context.signal,
  });
  if (answer.status !== 200) throw refusal(answer);
  if (out === undefined) {
    context.out(answer.body.toString('utf8').trimEnd());
    return EXIT.ok;
  }
  try {
    writeFileSync(out, answer.body, { mode: 0o600 });
  } catch (error) {
    throw new FatalError(
      'not_written',
      `cannot write ${out}: ${(error as Error).message}`,
      'choose another --out',
      error,
    );
  }
  context.out(`${out}: print it, then delete it: whoever has a card can join in that name until it is used`);
  return EXIT.ok;
}
