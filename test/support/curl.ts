// Runs the real curl, as the lines in the guides do. Skips, in words, where there is none.
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { RelayHome } from './relay-process.ts';

const run = promisify(execFile);

export const noCurl = spawnSync('curl', ['--version']).status === 0 ? false : 'curl is not installed';

export interface CurlAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
  readonly json: any;
}

/** `args` as on the command line, the address included. */
export async function curl(...args: string[]): Promise<CurlAnswer> {
  const format = '\n%{http_code} %{content_type}';
  const { stdout } = await run(
    'curl',
    ['-sS', '--max-time', '60', '--retry', '30', '--retry-connrefused', '--retry-delay', '1', '-w', format, ...args],
    { maxBuffer: 1 << 26 },
  );
  const end = stdout.lastIndexOf('\n');
  const [status, type = ''] = stdout.slice(end + 1).split(' ');
  const text = stdout.slice(0, end);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: Number(status), type, text, json };
}

/** A request with a JSON body, if any, as the command line makes it: over the box's own socket, where nobody logs in. */
export function askSocket(
  home: Pick<RelayHome, 'file'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<CurlAnswer> {
  const data = body === undefined ? [] : ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)];
  const socket = home.file('data/api.sock');
  return curl('--retry', '0', '--unix-socket', socket, '-X', method, ...data, `http://localhost${path}`);
}
