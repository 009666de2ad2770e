// Shell completion, as bash itself makes use of it; zsh and fish check the syntax where they are installed.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { SOURCE } from '../support/relay-process.ts';

const folder = mkdtempSync(join(tmpdir(), 'waystation-completion-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function has(shell: string): boolean {
  return spawnSync(shell, ['--version']).status === 0;
}

function written(shell: string): string {
  const [file, ...first] = SOURCE;
  const path = join(folder, shell);
  writeFileSync(path, execFileSync(file!, [...first, 'completion', shell], { encoding: 'utf8' }));
  return path;
}

const bashFile = has('bash') ? written('bash') : '';

/** What bash would offer for the last word. */
function offered(...words: string[]): string[] {
  const program = 'source "$1"; shift; COMP_WORDS=(waystation "$@"); COMP_CWORD=$#; _waystation; declare -p COMPREPLY';
  const said = execFileSync('bash', ['--norc', '-c', program, 'bash', bashFile, ...words], { encoding: 'utf8' });
  return [...said.matchAll(/\[\d+\]="([^"]*)"/g)].map(([, word]) => word!);
}

test('bash: commands, their parts, options, and words of an option', { skip: !has('bash') }, () => {
  assert.deepEqual(offered('do'), ['doctor']);
  assert.deepEqual(offered('sta'), ['status']);
  assert.deepEqual(offered('link', 're'), ['resume', 'remove']);
  assert.deepEqual(offered('token', ''), ['list', 'create', 'revoke', 'reset-password']);
  assert.deepEqual(offered('emcon', 'o'), ['on', 'off']);
  assert.deepEqual(offered('doctor', '--l'), ['--look']);
  assert.deepEqual(offered('audit', '--kind', 're'), ['refused', 'request']);
  assert.deepEqual(offered('completion', ''), ['bash', 'zsh', 'fish']);
  assert.deepEqual(offered('check', 'x'), []);
  const all = offered('');
  for (const name of ['run', 'check', 'doctor', 'completion', 'version']) assert.ok(all.includes(name), name);
});

test('every option that a command takes is offered', { skip: !has('bash') }, () => {
  const [file, ...first] = SOURCE;
  for (const name of ['status', 'doctor', 'policy', 'probe', 'inject', 'run']) {
    const help = execFileSync(file!, [...first, name, '--help'], { encoding: 'utf8' });
    const options = new Set([...help.matchAll(/(?<=[\s[(])--[a-z-]+/g)].map(([option]) => option));
    const offers = new Set(offered(name, '--'));
    for (const option of options) assert.ok(offers.has(option), `${name} ${option}`);
  }
});

for (const [shell, args] of [
  ['zsh', ['-n']],
  ['fish', ['--no-execute']],
] as const) {
  test(`${shell} can read it`, { skip: has(shell) ? false : `${shell} is not installed` }, () => {
    const { status, stderr } = spawnSync(shell, [...args, written(shell)], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  });
}

test('another shell is refused', () => {
  const [file, ...first] = SOURCE;
  assert.equal(spawnSync(file!, [...first, 'completion', 'tcsh']).status, 2);
});
