// Files as phones share them: brought by the real curl, announced as ATAK announces them. Knows nothing of src/.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';

export const sha = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

export interface Shared {
  readonly name: string;
  readonly bytes: Buffer;
  readonly hash?: string;
  readonly size?: number;
}

/** As ATAK announces a file to one callsign. */
export function announcement(from: string, to: string, url: string, file: Shared): string {
  const at = (ms: number) => new Date(ms).toISOString();
  const now = Date.now();
  const { name, bytes, hash = sha(bytes), size = bytes.length } = file;
  return (
    `<event version="2.0" uid="share-${hash.slice(0, 8)}-${now}" type="b-f-t-r" how="h-e" time="${at(now)}" start="${at(now)}" stale="${at(now + 60_000)}">` +
    `<point lat="0" lon="0" hae="9999999.0" ce="9999999.0" le="9999999.0"/><detail><fileshare filename="${name}" senderUrl="${url.replaceAll('&', '&amp;')}" sizeInBytes="${size}" sha256="${hash}" senderUid="ANDROID-a" senderCallsign="${from}" name="${name}"/>` +
    `<ackrequest uid="ack-1" ackrequested="true" tag="${name}"/><marti><dest callsign="${to}"/></marti></detail></event>`
  );
}

/** What the phone that fetched it says to the one that sent it. */
export function receipt(to: string, ok: boolean): string {
  const at = (ms: number) => new Date(ms).toISOString();
  const now = Date.now();
  return (
    `<event version="2.0" uid="ack-1" type="b-f-t-a" how="m-g" time="${at(now)}" start="${at(now)}" stale="${at(now + 60_000)}"><point lat="0" lon="0" hae="0" ce="9999999" le="9999999"/>` +
    `<detail><ackresponse uid="ack-1" success="${ok}" reason=""/><marti><dest callsign="${to}"/></marti></detail></event>`
  );
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** curl with these arguments; the body goes to a file when `-o` is among them. */
export function curlNow(...args: readonly string[]): Answer {
  const { stdout } = spawnSync('curl', ['-sS', '-m', '60', '-w', '\n%{http_code}', ...args], { maxBuffer: 1 << 26 });
  const text = String(stdout);
  const end = text.lastIndexOf('\n');
  return { status: Number(text.slice(end + 1)), body: text.slice(0, end) };
}

/** Where an announcement says the file is. */
export function urlIn(event: string): string {
  return /senderUrl="([^"]*)"/.exec(event)![1]!.replaceAll('&#38;', '&').replaceAll('&amp;', '&');
}
