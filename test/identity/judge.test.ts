// Every verdict, with real certificates. How they arrive through real TLS is in tls.test.ts.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import forge from 'node-forge';
import { judge, LiveTrust, mergeTrust, refusalsOf, type Trust, type Verdict } from '../../src/identity/trust.ts';
import { fingerprint } from '../../src/identity/x509.ts';
import { makeCa, makeLeaf, makeSelfSigned, pinning, type TestCa, trusting } from '../support/pki.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const now = Date.now();
const root = makeCa({ cn: 'Site CA' });
const stranger = makeCa({ cn: 'Stranger CA' });
const nobody: Trust = { cas: [], pins: [] };

/** The chain as a peer would send it. */
function chainOf(...certificates: readonly { readonly x509: X509Certificate }[]): X509Certificate[] {
  return certificates.map(({ x509 }) => new X509Certificate(x509.raw));
}

function refusal(verdict: Verdict): Extract<Verdict, { ok: false }> {
  assert.ok(!verdict.ok, 'was accepted');
  // Words for a person: a sentence with something to do, no undefined in it.
  assert.match(verdict.fix, /^[A-Z].*[.)…0-9a-f]$/);
  assert.doesNotMatch(verdict.words + verdict.fix, /undefined|NaN|\[object/);
  return verdict;
}

function code(verdict: Verdict): string {
  return verdict.ok ? 'ok' : refusal(verdict).code;
}

test('a leaf of a trusted authority is accepted, with or without the authority in the chain', () => {
  const leaf = makeLeaf(root, { cn: 'relay-b' });
  const expected = { ok: true, identity: { id: leaf.fingerprint, name: 'relay-b', proof: 'certificate' } };
  for (const role of ['client', 'server'] as const) {
    assert.deepEqual(judge(chainOf(leaf), trusting(root), role, now), expected);
    assert.deepEqual(judge(chainOf(leaf, root), trusting(root), role, now), expected);
    assert.deepEqual(judge(chainOf(leaf, root), trusting(stranger, root), role, now), expected);
  }
});

test('intermediates are followed, whatever their order; a trusted intermediate needs no root', () => {
  const middle = makeCa({ cn: 'Middle', intermediateOf: root });
  const low = makeCa({ cn: 'Low', intermediateOf: middle });
  const leaf = makeLeaf(low, { cn: 'deep' });
  assert.equal(code(judge(chainOf(leaf, low, middle, root), trusting(root), 'client', now)), 'ok');
  assert.equal(code(judge(chainOf(leaf, stranger, middle, low), trusting(root), 'client', now)), 'ok');
  assert.equal(code(judge(chainOf(leaf), trusting(low), 'client', now)), 'ok');
  const missing = refusal(judge(chainOf(leaf, low), trusting(root), 'client', now));
  assert.equal(missing.code, 'unknown_ca');
  assert.match(missing.words, /did not send the certificate of "Middle", which signed "Low"/);
  assert.match(missing.fix, /whole chain/);
});

test('pins: a leaf is accepted for itself, an authority for what it signed', () => {
  const leaf = makeLeaf(stranger, { cn: 'pinned', eku: ['server'] });
  const other = makeLeaf(stranger, { cn: 'other' });
  assert.equal(code(judge(chainOf(leaf), pinning(leaf), 'client', now)), 'ok', 'use and signer do not matter');
  assert.equal(code(judge(chainOf(other, stranger), pinning(stranger), 'client', now)), 'ok');
  const refused = refusal(judge(chainOf(other, stranger), pinning(leaf), 'client', now));
  assert.equal(refused.code, 'not_pinned');
  assert.match(refused.fix, new RegExp(`SHA256:${other.fingerprint}`));
  assert.equal(
    code(judge(chainOf(other), pinning(stranger), 'client', now)),
    'not_pinned',
    'the authority did not come along',
  );
  assert.equal(
    code(judge(chainOf(other, leaf), pinning(leaf), 'client', now)),
    'not_pinned',
    'a pinned leaf as a companion',
  );
});

test('a pinned authority counts only for what it really signed', () => {
  const forged = makeLeaf(makeCa({ cn: 'Stranger CA', freshKey: true }), { cn: 'forged' });
  assert.equal(code(judge(chainOf(forged, stranger), pinning(stranger), 'client', now)), 'bad_signature');
  const bystander = makeLeaf(root, { cn: 'bystander' });
  assert.equal(code(judge(chainOf(bystander, stranger), pinning(stranger), 'client', now)), 'not_pinned');
});

test('no_certificate and chain_too_long', () => {
  assert.equal(code(judge([], trusting(root), 'client', now)), 'no_certificate');
  let ca: TestCa = root;
  const authorities = Array.from(
    { length: 6 },
    (_, index) => (ca = makeCa({ cn: `Level ${index}`, intermediateOf: ca })),
  );
  const leaf = makeLeaf(ca, { cn: 'deep' });
  assert.equal(
    code(judge(chainOf(leaf, ...authorities.slice(1).reverse()), trusting(authorities[0]!), 'client', now)),
    'ok',
  );
  assert.equal(code(judge(chainOf(leaf, ...authorities.reverse()), trusting(root), 'client', now)), 'chain_too_long');
});

test('unknown_ca says whose authority it is and how to trust it', () => {
  const leaf = makeLeaf(stranger, { cn: 'who' });
  const full = refusal(judge(chainOf(leaf, stranger), trusting(root), 'client', now));
  assert.equal(full.code, 'unknown_ca');
  assert.match(full.words, /"who" \(issued by "Stranger CA", SHA-256 [0-9a-f]{16}…\)/);
  assert.match(full.fix, new RegExp(`SHA256:${stranger.fingerprint}`));
  const bare = refusal(judge(chainOf(leaf), trusting(root), 'client', now));
  assert.match(bare.words, /did not send the certificate of "Stranger CA"/);
  const empty = refusal(judge(chainOf(leaf, stranger), nobody, 'client', now));
  assert.equal(empty.code, 'unknown_ca');
  assert.match(empty.words, /trusts nobody yet/);
  const selfSigned = makeSelfSigned({ cn: 'alone' });
  const alone = refusal(judge(chainOf(selfSigned), trusting(root), 'server', now));
  assert.equal(alone.code, 'unknown_ca');
  assert.match(alone.words, /signed itself/);
  assert.equal(code(judge(chainOf(selfSigned), pinning(selfSigned), 'server', now)), 'ok');
});

test('a leaf that names itself after a trusted authority does not become one', () => {
  const impostor = makeLeaf(stranger, { cn: 'Site CA' });
  const victim = makeLeaf({ ...stranger, x509: impostor.x509 }, { cn: 'victim' });
  assert.equal(code(judge(chainOf(victim, impostor, stranger), trusting(root), 'client', now)), 'bad_signature');
  const leaf = makeLeaf(root, { cn: 'plain leaf' });
  const below = makeLeaf({ ...root, x509: leaf.x509 }, { cn: 'below' });
  assert.notEqual(code(judge(chainOf(below, leaf, root), trusting(root), 'client', now)), 'ok', 'a leaf signs nothing');
  const silent = madeByForge({}); // says nothing about what it may be used for, and still is no authority
  const belowSilent = makeLeaf({ ...forgeCa, x509: silent }, { cn: 'below' });
  for (const trust of [
    trusting(forgeCa),
    trusting({ certPem: silent.toString() }),
    { cas: [], pins: [fingerprint(silent)] },
  ]) {
    assert.notEqual(code(judge([belowSilent.x509, silent], trust, 'client', now)), 'ok');
  }
});

test('bad_signature: an authority remade under its old name, and a leaf tampered with', () => {
  const remade = makeCa({ cn: 'Site CA', freshKey: true });
  const leaf = makeLeaf(remade, { cn: 'newer' });
  for (const chain of [chainOf(leaf), chainOf(leaf, remade)]) {
    const verdict = refusal(judge(chain, trusting(root), 'client', now));
    assert.equal(verdict.code, 'bad_signature');
    assert.match(verdict.fix, /made anew/);
  }
  const raw = Buffer.from(makeLeaf(root, { cn: 'honest' }).x509.raw);
  raw.write('h0nest', raw.lastIndexOf('honest'));
  const tampered = new X509Certificate(raw);
  assert.equal(code(judge([tampered], trusting(root), 'client', now)), 'bad_signature');
});

test('of two trusted certificates of one authority the current one counts', () => {
  const old = makeCa({ cn: 'Renewed', notBefore: new Date(now - 20 * DAY_MS), notAfter: new Date(now - DAY_MS) });
  const current = makeCa({ cn: 'Renewed' });
  const leaf = makeLeaf(old, { cn: 'kept' });
  assert.equal(code(judge(chainOf(leaf, old), trusting(old, current), 'client', now)), 'ok');
  const expired = refusal(judge(chainOf(leaf), trusting(old), 'client', now));
  assert.equal(expired.code, 'expired');
  assert.match(expired.words, /^"Renewed"/);
  assert.match(expired.fix, /that authority/);
});

test('dates: the words name both clocks; pinned leaves must be current too', () => {
  const leaf = makeLeaf(root, { cn: 'dated', notBefore: new Date(now - DAY_MS), notAfter: new Date(now + DAY_MS) });
  for (const trust of [trusting(root), pinning(leaf)]) {
    const early = refusal(judge(chainOf(leaf), trust, 'client', Date.UTC(1970, 0, 1)));
    assert.equal(early.code, 'not_yet_valid');
    assert.match(early.words, /the clock of this box says 1970-01-01 00:00 UTC/);
    assert.match(early.fix, /clock of this box.*clock of the peer/);
    const late = refusal(judge(chainOf(leaf), trust, 'client', now + 2 * DAY_MS));
    assert.equal(late.code, 'expired');
    assert.match(late.words, new RegExp(`ended on ${new Date(leaf.notAfterMs).toISOString().slice(0, 10)}`));
    assert.equal(code(judge(chainOf(leaf), trust, 'client', leaf.notAfterMs)), 'ok', 'the last second counts');
    assert.equal(code(judge(chainOf(leaf), trust, 'client', leaf.x509.validFromDate.getTime())), 'ok');
  }
});

test('wrong_eku: a client needs clientAuth, a server either; silence and any are fine', () => {
  const cases = [
    [['server'], 'wrong_eku', 'ok'],
    [['client'], 'ok', 'ok'],
    [['client', 'server'], 'ok', 'ok'],
    ['none', 'ok', 'ok'],
  ] as const;
  for (const [eku, asClient, asServer] of cases) {
    const chain = chainOf(makeLeaf(root, { cn: `for ${eku}`, eku }));
    assert.equal(code(judge(chain, trusting(root), 'client', now)), asClient, `${eku} as client`);
    assert.equal(code(judge(chain, trusting(root), 'server', now)), asServer, `${eku} as server`);
  }
  const mail = [madeByForge({ extensions: [{ name: 'extKeyUsage', emailProtection: true }] })];
  assert.equal(code(judge(mail, trusting(forgeCa), 'server', now)), 'wrong_eku');
  const any = [madeByForge({ extensions: [{ name: 'extKeyUsage', '2.5.29.37.0': true }] })];
  assert.equal(code(judge(any, trusting(forgeCa), 'client', now)), 'ok');
});

test('no_cn, also for a pinned certificate', () => {
  const nameless = makeLeaf(root, { cn: '' });
  assert.equal(code(judge(chainOf(nameless), trusting(root), 'client', now)), 'no_cn');
  assert.equal(code(judge(chainOf(nameless), pinning(nameless), 'client', now)), 'no_cn');
});

test('ca_as_leaf: an authority that presents itself is refused, unless pinned', () => {
  const verdict = refusal(judge(chainOf(root), trusting(root), 'client', now));
  assert.equal(verdict.code, 'ca_as_leaf');
  assert.match(verdict.fix, new RegExp(`SHA256:${root.fingerprint}`));
  const ownServer = makeSelfSigned({ cn: 'fts', authority: true });
  assert.equal(code(judge(chainOf(ownServer), pinning(ownServer), 'server', now)), 'ok');
});

test('weak_key anywhere in the path, pinned or not; EC and Ed25519 are fine', () => {
  const weak = makeLeaf(root, { cn: 'weak', key: 'rsa1024' });
  assert.equal(code(judge(chainOf(weak), trusting(root), 'client', now)), 'weak_key');
  assert.equal(code(judge(chainOf(weak), pinning(weak), 'client', now)), 'weak_key');
  const weakCa = makeCa({ cn: 'Weak CA', key: 'rsa1024' });
  const verdict = refusal(judge(chainOf(makeLeaf(weakCa, { cn: 'strong' })), trusting(weakCa), 'client', now));
  assert.equal(verdict.code, 'weak_key');
  assert.match(verdict.words, /"Weak CA".*rsa 1024/);
  assert.equal(code(judge(chainOf(makeLeaf(root, { cn: 'ed', key: 'ed25519' })), trusting(root), 'client', now)), 'ok');
});

test('weak_signature: SHA-1 is refused below a trusted authority, but the root may have signed itself with it', () => {
  const sha1 = madeByForge({ hash: forge.md.sha1.create() });
  const verdict = refusal(judge([sha1], trusting(forgeCa), 'client', now));
  assert.equal(verdict.code, 'weak_signature');
  assert.match(verdict.words, /sha1/i);
  const oldRoot = madeByForge({ hash: forge.md.sha1.create(), selfSigned: true });
  const leaf = makeLeaf({ ...forgeCa, x509: oldRoot }, { cn: 'fine' });
  assert.equal(code(judge(chainOf(leaf), trusting({ certPem: oldRoot.toString() }), 'client', now)), 'ok');
});

test('chain_not_allowed: a path length is kept; unsupported_extension: name constraints are not guessed at', () => {
  const limited = makeCa({ cn: 'Limited', pathLength: 0 });
  const below = makeCa({ cn: 'Below', intermediateOf: limited });
  assert.equal(code(judge(chainOf(makeLeaf(limited, { cn: 'direct' })), trusting(limited), 'client', now)), 'ok');
  const leaf = makeLeaf(below, { cn: 'indirect' });
  assert.equal(code(judge(chainOf(leaf, below), trusting(limited), 'client', now)), 'chain_not_allowed');
  const constrained = madeByForge({ extensions: [{ id: '2.5.29.30', critical: true, value: '0\0' }] });
  assert.equal(code(judge([constrained], trusting(forgeCa), 'client', now)), 'unsupported_extension');
  const harmless = madeByForge({ extensions: [{ id: '2.5.29.30', critical: false, value: '0\0' }] });
  assert.equal(code(judge([harmless], trusting(forgeCa), 'client', now)), 'ok');
});

test('malformed: an extension that stands twice, and a trust that cannot be read, refuse instead of throwing', () => {
  const twice = { id: '1.2.3.4', critical: false, value: '0\0' };
  assert.equal(
    code(judge([madeByForge({ extensions: [twice, twice] })], trusting(forgeCa), 'client', now)),
    'malformed',
  );
  const broken = { cas: ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'], pins: [] };
  assert.equal(code(judge(chainOf(makeLeaf(root, { cn: 'a' })), broken, 'client', now)), 'malformed');
});

test('certificates made to sign each other in every direction are judged without a blow-up', () => {
  // One name, one key: each of the five has signed each other.
  const knot = Array.from({ length: 5 }, (_, index) =>
    makeCa({ cn: 'Knot', notAfter: new Date(now + (index + 1) * DAY_MS) }),
  );
  const chain = chainOf(makeLeaf(knot[0]!, { cn: 'tangled' }), ...knot);
  const original = X509Certificate.prototype.verify;
  let checks = 0;
  X509Certificate.prototype.verify = function (this: X509Certificate, key) {
    checks++;
    return original.call(this, key);
  };
  try {
    assert.notEqual(code(judge(chain, trusting(root), 'client', now)), 'ok');
  } finally {
    X509Certificate.prototype.verify = original;
  }
  assert.ok(checks > 0 && checks <= 60, `${checks} signature checks`);
});

test('a name in a certificate cannot forge lines or direction in the words', () => {
  const verdict = refusal(
    judge(chainOf(makeLeaf(stranger, { cn: 'x\n[warn] all is well\u202e' })), trusting(root), 'client', now),
  );
  assert.doesNotMatch(verdict.words, /[\n\u202e]/);
});

const forgeCa = makeCa({ cn: 'Forge CA', key: 'rsa' });

/** A certificate with what our own builder cannot write: other hashes, other extensions. */
function madeByForge(options: {
  readonly hash?: forge.md.MessageDigest;
  readonly extensions?: readonly object[];
  readonly selfSigned?: boolean;
}): X509Certificate {
  const made = forge.pki.createCertificate();
  made.publicKey = forge.pki.publicKeyFromPem(forgeCa.x509.publicKey.export({ type: 'spki', format: 'pem' }) as string);
  made.serialNumber = '01';
  made.validity.notBefore = new Date(now - DAY_MS);
  made.validity.notAfter = new Date(now + DAY_MS);
  const name = (value: string) => [{ name: 'commonName', value }];
  made.setSubject(name(options.selfSigned ? 'Forge CA' : 'by forge'));
  made.setIssuer(name('Forge CA'));
  const authority = { name: 'basicConstraints', cA: true, critical: true };
  made.setExtensions([...(options.selfSigned ? [authority] : []), ...(options.extensions ?? [])] as object[]);
  made.sign(forge.pki.privateKeyFromPem(forgeCa.keyPem), options.hash ?? forge.md.sha256.create());
  return new X509Certificate(forge.pki.certificateToPem(made));
}

test('objections are asked last, and hold whatever trust they are merged with, live or not', () => {
  const [leaf, other] = [makeLeaf(root, { cn: 'phone' }), makeLeaf(root, { cn: 'other' })];
  const asked: string[] = [];
  const objecting: Trust = {
    cas: [],
    pins: [],
    objections: [
      ({ subject }) => {
        asked.push(subject);
        return subject === 'CN=phone' ? { code: 'other_network', words: 'not here', fix: 'Elsewhere.' } : undefined;
      },
    ],
  };
  const live = new LiveTrust(objecting);
  const kinds = {
    plain: mergeTrust(trusting(root), objecting),
    pinned: mergeTrust(pinning(leaf, other), objecting),
    live: mergeTrust(live, trusting(root)),
    refusals: mergeTrust(trusting(root), refusalsOf(objecting)),
    'live refusals': mergeTrust(trusting(root), refusalsOf(live)),
  };
  for (const [kind, trust] of Object.entries(kinds)) {
    assert.equal(code(judge(chainOf(leaf), trust, 'client', now)), 'other_network', kind);
    assert.equal(code(judge(chainOf(other), trust, 'client', now)), 'ok', kind);
  }
  asked.length = 0;
  assert.equal(code(judge(chainOf(makeLeaf(stranger, { cn: 'phone' })), kinds.plain, 'client', now)), 'unknown_ca');
  assert.deepEqual(asked, [], 'nobody is told of networks who has no business here');
});
