// Revocation lists as OpenSSL makes them: read, believed only from the authority that signed them, effective at once.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readCrl } from '../../src/identity/crl.ts';
import { judge, LiveTrust, loadRevocations, mergeTrust, refusalsOf } from '../../src/identity/trust.ts';
import { FatalError } from '../../src/lib/errors.ts';
import { crlWarnings } from '../../src/warnings.ts';

const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

/** An authority in a folder, as operators keep them. */
class Authority {
  readonly folder: string;
  readonly #name: string;

  constructor(t: TestContext, name: string, subject = name) {
    this.folder = mkdtempSync(join(tmpdir(), 'waystation-crl-'));
    this.#name = name;
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    writeFileSync(
      join(this.folder, 'ca.cnf'),
      `[ca]\ndefault_ca=d\n[d]\ndir=${this.folder}\ndatabase=${this.folder}/index\nserial=${this.folder}/serial\nnew_certs_dir=${this.folder}\ncertificate=${this.folder}/ca.pem\nprivate_key=${this.folder}/ca.key\ndefault_md=sha256\ndefault_days=30\ndefault_crl_days=30\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nbasicConstraints=CA:false\nextendedKeyUsage=clientAuth,serverAuth\n[req]\ndistinguished_name=n\n[n]\n[v3]\nbasicConstraints=critical,CA:true\n`,
    );
    writeFileSync(join(this.folder, 'index'), '');
    writeFileSync(join(this.folder, 'serial'), '00C0FFEE\n');
    this.#openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '60',
      '-subj',
      `/CN=${subject}`,
      '-config',
      'ca.cnf',
      '-extensions',
      'v3',
    );
  }

  get pem(): string {
    return readFileSync(join(this.folder, 'ca.pem'), 'utf8');
  }

  issue(name: string): X509Certificate {
    this.#openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
      '-config',
      'ca.cnf',
    );
    this.#openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', '-in', `${name}.csr`, '-out', `${name}.pem`);
    return new X509Certificate(readFileSync(join(this.folder, `${name}.pem`)));
  }

  revoke(...names: readonly string[]): string {
    for (const name of names) this.#openssl('ca', '-config', 'ca.cnf', '-revoke', `${name}.pem`);
    this.#openssl('ca', '-config', 'ca.cnf', '-gencrl', '-out', `${this.#name}.crl`);
    return join(this.folder, `${this.#name}.crl`);
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.folder, stdio: 'pipe' });
  }
}

const codeOf = (verdict: ReturnType<typeof judge>) => (verdict.ok ? 'ok' : verdict.code);

test('a certificate on the list of its authority is refused, the others are not', { skip }, (t) => {
  const ca = new Authority(t, 'site');
  const [lost, kept] = [ca.issue('lost'), ca.issue('kept')];
  const trust = { cas: [ca.pem], pins: [] };
  const empty = mergeTrust(trust, loadRevocations([ca.revoke()], '/'));
  assert.equal(codeOf(judge([lost], empty, 'client', Date.now())), 'ok');
  const listed = mergeTrust(trust, loadRevocations([ca.revoke('lost')], '/'));
  assert.equal(codeOf(judge([lost], listed, 'client', Date.now())), 'revoked');
  assert.equal(codeOf(judge([kept], listed, 'client', Date.now())), 'ok');
  const pinned = mergeTrust({ cas: [], pins: [lost.fingerprint256.replaceAll(':', '').toLowerCase()] }, listed);
  assert.equal(codeOf(judge([lost], pinned, 'client', Date.now())), 'revoked', 'pinned or not');
});

test('effective at once: trust that lives tells its listeners', { skip }, (t) => {
  const ca = new Authority(t, 'site');
  const lost = ca.issue('lost');
  const live = new LiveTrust({ cas: [ca.pem], pins: [] });
  const both = mergeTrust(live, { cas: [], pins: [] });
  const seen: string[] = [];
  both.onChange!(() => seen.push(codeOf(judge([lost], both, 'client', Date.now()))));
  live.become(mergeTrust({ cas: [ca.pem], pins: [] }, loadRevocations([ca.revoke('lost')], '/')));
  assert.deepEqual(seen, ['revoked']);
});

test('a list of another authority with the same name revokes nobody', { skip }, (t) => {
  const [ca, namesake] = [new Authority(t, 'site'), new Authority(t, 'other', 'site')];
  const good = ca.issue('good');
  namesake.issue('victim');
  const trust = mergeTrust({ cas: [ca.pem], pins: [] }, loadRevocations([namesake.revoke('victim')], '/'));
  assert.equal(new X509Certificate(readFileSync(join(namesake.folder, 'victim.pem'))).serialNumber, good.serialNumber);
  assert.equal(codeOf(judge([good], trust, 'client', Date.now())), 'ok');
});

test('DER as well as PEM; the time of the next one is read', { skip }, (t) => {
  const ca = new Authority(t, 'site');
  ca.issue('lost');
  const path = ca.revoke('lost');
  const der = execFileSync('openssl', ['crl', '-in', path, '-outform', 'DER']);
  assert.deepEqual([...readCrl(der).serials], [...readCrl(readFileSync(path)).serials]);
  assert.deepEqual([...readCrl(der).serials], ['c0ffee']);
  assert.ok(readCrl(der).nextUpdateMs! > Date.now());
});

test('that the next one is overdue is a warning, and no reason not to believe it', { skip }, (t) => {
  const ca = new Authority(t, 'site');
  const lost = ca.issue('lost');
  const path = ca.revoke('lost');
  const { crls } = loadRevocations([path], '/');
  const dueMs = crls![0]!.nextUpdateMs!;
  assert.deepEqual(crlWarnings(crls!, dueMs - 1), []);
  const [warning] = crlWarnings(crls!, dueMs + 1);
  assert.equal(warning?.code, 'crl_outdated');
  assert.ok(
    warning.words.includes(`${path} should have been replaced by ${new Date(dueMs).toISOString().slice(0, 10)}`),
  );
  const trust = mergeTrust({ cas: [ca.pem], pins: [] }, { cas: [], pins: [], crls: crls! });
  assert.equal(codeOf(judge([lost], trust, 'client', Date.now())), 'revoked');
});

test('what is revoked for all can be taken without who is trusted, and lives on', { skip }, (t) => {
  const ca = new Authority(t, 'site');
  const lost = ca.issue('lost');
  const pin = lost.fingerprint256.replaceAll(':', '').toLowerCase();
  const live = new LiveTrust({ cas: [ca.pem], pins: ['00'.repeat(32)] });
  const refusals = refusalsOf(live);
  assert.deepEqual([refusals.cas, refusals.pins], [[], []]);
  const seen: unknown[] = [];
  refusals.onChange!(() => seen.push(refusals.revoked));
  live.become({ cas: [ca.pem], pins: [], revoked: [pin], crls: loadRevocations([ca.revoke()], '/').crls });
  assert.deepEqual([seen, refusals.crls?.length], [[[pin]], 1]);
  const phones = mergeTrust({ cas: [ca.pem], pins: [] }, refusals);
  assert.equal(codeOf(judge([lost], phones, 'client', Date.now())), 'revoked');
  assert.equal(codeOf(judge([lost], refusals, 'client', Date.now())), 'revoked');
});

test('what is no list is refused in words, at every byte cut off', { skip }, (t) => {
  const ca = new Authority(t, 'site');
  ca.issue('lost');
  const der = execFileSync('openssl', ['crl', '-in', ca.revoke('lost'), '-outform', 'DER']);
  for (let length = 0; length < der.length; length++)
    assert.throws(() => readCrl(der.subarray(0, length)), RangeError, String(length));
  const file = join(ca.folder, 'bad.crl');
  writeFileSync(file, 'nothing of the kind');
  assert.throws(
    () => loadRevocations([file], '/'),
    (error) => error instanceof FatalError && error.code === 'crl_unreadable',
  );
  assert.throws(() => loadRevocations(['/does/not/exist.crl'], '/'), FatalError);
  assert.deepEqual(loadRevocations([`SHA256:${'AB'.repeat(32)}`], '/').revoked, ['ab'.repeat(32)]);
});
