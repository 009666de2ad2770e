// Which phones may come in by which link of a box with several networks.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { judge } from '../../src/identity/judge.ts';
import { mergeTrust } from '../../src/identity/trust.ts';
import { PhoneDoors } from '../../src/phone-doors.ts';
import { makeCa, makeLeaf, testIdentity } from '../support/pki.ts';

const identity = testIdentity('town');
const foreign = makeLeaf(makeCa({ cn: 'Other box' }), { cn: 'guest', unit: 'medics', eku: ['client'] });
const LINKS = `links:
- { name: phones, kind: cot, listen: 8089, tls: true }
- { name: medics, kind: cot, listen: 8090, tls: true, policy: { network: medics } }
- { name: plain, kind: cot, listen: 8091, policy: { network: police } }
`;
const TOWN = `networks: [{ name: medics }, { name: police }]\n${LINKS}`;

function read(text: string): Config {
  const parsed = parseConfig(text, { path: '/etc/waystation.yaml' });
  assert.ok('config' in parsed, 'problems' in parsed ? JSON.stringify(parsed.problems) : '');
  return parsed.config;
}

function town(text = TOWN) {
  let config = read(text);
  const doors = new PhoneDoors({ config: () => config, caPem: () => identity.ca.certPem });
  const says = (link: string, certPem: string) => {
    // As a cot link puts it together.
    const trust = mergeTrust({ cas: [identity.ca.certPem], pins: [] }, doors.at(link));
    const verdict = judge([new X509Certificate(certPem)], trust, 'client', Date.now());
    return verdict.ok ? 'ok' : verdict;
  };
  const code = (link: string, certPem: string) => {
    const said = says(link, certPem);
    return said === 'ok' ? said : said.code;
  };
  const become = (next: string) => {
    config = read(next);
  };
  return { doors, says, code, become };
}

const [plain, medic, officer] = [
  identity.issueClient('Alpha').certPem,
  identity.issueClient('Doc', undefined, 'medics').certPem,
  identity.issueClient('Cop', undefined, 'police').certPem,
];

test('a certificate is good in its network; one that names none in the main one', () => {
  const { code } = town();
  assert.deepEqual(
    ['phones', 'medics'].map((link) => [plain, medic, officer].map((pem) => code(link, pem))),
    [
      ['ok', 'other_network', 'other_network'],
      ['other_network', 'ok', 'other_network'],
    ],
  );
});

test('the refusal says which networks, and where that phone may go', () => {
  const { says } = town();
  assert.deepEqual(says('phones', medic), {
    ok: false,
    code: 'other_network',
    words: 'the certificate of "Doc" was made for network medics, and this link is in network main',
    fix: 'Let it connect to port 8090, where network medics is, or give it a certificate for this one: "waystation phone add NAME --network main".',
  });
  const nowhere = says('medics', officer);
  assert.ok(nowhere !== 'ok');
  assert.match(nowhere.fix, /^Give it a certificate for this one: "waystation phone add NAME --network medics"/);
});

test('a box that is one network takes all its phones; the configuration counts as it is now', () => {
  const one = town(LINKS.replaceAll(/, policy: \{ network: \w+ \}/g, ''));
  assert.deepEqual([one.code('phones', medic), one.code('medics', plain)], ['ok', 'ok']);
  one.become(TOWN);
  assert.deepEqual([one.code('phones', medic), one.code('medics', plain)], ['other_network', 'other_network']);
  one.become(TOWN.replace('network: medics', 'network: police'));
  assert.deepEqual([one.code('medics', medic), one.code('medics', officer)], ['other_network', 'ok']);
});

test('a phone from another box is in the network it was taken into; what its own authority wrote does not count', () => {
  const { doors, code } = town();
  const guest = foreign.certPem;
  assert.equal(code('phones', guest), 'unknown_ca');
  doors.welcome([{ fingerprint: foreign.fingerprint, network: 'main' }]);
  assert.deepEqual([code('phones', guest), code('medics', guest)], ['ok', 'other_network']);
  assert.deepEqual(doors.guests.pins, [foreign.fingerprint]);
  doors.welcome([]);
  assert.equal(code('phones', guest), 'unknown_ca');
});

test('whom a link trusts by itself, of whatever authority, is no matter of networks', () => {
  const { doors } = town();
  const trust = mergeTrust(doors.at('medics'), { cas: [], pins: [foreign.fingerprint] });
  assert.equal(judge([new X509Certificate(foreign.certPem)], trust, 'client', Date.now()).ok, true);
});
