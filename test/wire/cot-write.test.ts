// Writing CoT: the messages of the streaming protocol, and changes that leave the rest of an event alone.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseAuth, scanCot, scanCotStrict } from '../../src/wire/cot.ts';
import {
  authXml,
  decimal,
  detailOf,
  disconnectXml,
  eventXml,
  isoTime,
  pingXml,
  pongXml,
  relaySaXml,
  stripMarti,
  takpOfferXml,
  takpRequestXml,
  takpResponseXml,
  withFlowTag,
  withMartiDest,
} from '../../src/wire/cot-write.ts';
import { MAX_ATTRIBUTES } from '../../src/wire/xml.ts';
import { atakSa, CORPUS, fileTransfer, plainEvent, throughServer } from '../fixtures/events.ts';

const NOW = Date.UTC(2026, 10, 20, 14, 3, 21, 7);
const ISO = '2026-11-20T14:03:21.007Z';
const NASTY = `"<&>'\u0001\t\n ü🛰\ud800]]>`;
const NASTY_READ = `"<&>'\ufffd\t\n ü🛰\ufffd]]>`;

/** An event with this detail, for changes that are about the detail. */
function withDetail(detail: string): Buffer {
  return Buffer.from(plainEvent(NOW, 'a-u-G', 'u', '').toString().replace('<detail></detail>', detail));
}

suite('messages of the streaming protocol', () => {
  test('ping, pong, disconnect', () => {
    const ping = scanCot(pingXml('relay-1', NOW));
    assert.deepEqual([ping.uid, ping.type, ping.how], ['relay-1-ping', 't-x-c-t', 'm-g']);
    assert.deepEqual([ping.timeMs, ping.staleMs], [NOW, NOW + 10_000]);
    const pong = scanCot(pongXml(NOW));
    assert.deepEqual([pong.uid, pong.type, pong.how], ['takPong', 't-x-c-t-r', 'h-g-i-g-o']);
    const bye = disconnectXml('phone "7"', 'a-f-G-U-C', NOW);
    assert.deepEqual([scanCot(bye).type, scanCot(bye).linkUid], ['t-x-d-d', 'phone "7"']);
    assert.match(bye.toString(), /<link relation="p-p" uid="phone &quot;7&quot;" type="a-f-G-U-C"\/>/);
    assert.notEqual(scanCot(bye).uid, scanCot(disconnectXml('other', 'a-f-G-U-C', NOW)).uid);
  });

  test('negotiation of the TAK protocol', () => {
    const control = (xml: Buffer) => /<detail>(.*)<\/detail>/.exec(xml.toString())?.[1];
    const offer = takpOfferXml('uid-1', 1, NOW);
    assert.deepEqual([scanCot(offer).uid, scanCot(offer).type], ['uid-1', 't-x-takp-v']);
    assert.equal(control(offer), '<TakControl><TakProtocolSupport version="1"/></TakControl>');
    const request = takpRequestXml('uid-1', 1, NOW);
    assert.equal(scanCot(request).type, 't-x-takp-q');
    assert.equal(control(request), '<TakControl><TakRequest version="1"/></TakControl>');
    const response = takpResponseXml('uid-1', true, NOW);
    assert.equal(scanCot(response).type, 't-x-takp-r');
    assert.equal(control(response), '<TakControl><TakResponse status="true"/></TakControl>');
    assert.match(takpResponseXml('uid-1', false, NOW).toString(), /status="false"/);
  });

  test('credentials', () => {
    const auth = { username: 'a&b', password: `p"'<>`, uid: 'u', callsign: 'ЩИТ' };
    assert.deepEqual(parseAuth(authXml(auth)), auth);
  });

  test("the relay's own position", () => {
    const sa = { uid: 'relay-1', callsign: 'HUB "A"', team: 'Blue', role: 'HQ', nowMs: NOW, staleMs: 45_000 };
    const said = scanCot(relaySaXml(sa));
    assert.deepEqual([said.uid, said.callsign, said.team, said.role], ['relay-1', 'HUB "A"', 'Blue', 'HQ']);
    assert.deepEqual([said.endpoint, said.staleMs, said.lat, said.ce], ['*:-1:stcp', NOW + 45_000, 0, 9999999]);
    const placed = scanCot(relaySaXml({ ...sa, lat: 48.5, lon: -1.25 }));
    assert.deepEqual([placed.lat, placed.lon], [48.5, -1.25]);
  });
});

suite('eventXml', () => {
  test('header and detail come back from what was written', () => {
    for (const { name, xml } of CORPUS) {
      const said = scanCot(xml(NOW));
      assert.deepEqual(scanCot(eventXml(said, detailOf(xml(NOW)))), said, name);
    }
  });

  test('whatever the header holds, the event is well-formed', () => {
    const said = { ...scanCot(atakSa(NOW)), uid: NASTY, type: NASTY, how: NASTY };
    const xml = eventXml(said, '<detail/>', { access: NASTY, caveat: 'c', releasableTo: 'r', qos: '1-r-c', opex: '' });
    const back = scanCot(xml);
    assert.deepEqual(back, scanCotStrict(xml));
    assert.deepEqual([back.uid, back.type, back.how], [NASTY_READ, NASTY_READ, NASTY_READ]);
    assert.match(xml.toString(), / caveat="c" releasableTo="r" qos="1-r-c">/);
    assert.doesNotMatch(xml.toString(), /opex/);
  });

  test('times have milliseconds always, numbers no exponent', () => {
    assert.equal(isoTime(Date.UTC(2026, 0, 1)), '2026-01-01T00:00:00.000Z');
    const spelled: [number, string][] = [
      [0, '0.0'],
      [-0, '0.0'],
      [5, '5.0'],
      [9999999, '9999999.0'],
      [-12.5, '-12.5'],
      [1e-7, '0.0000001'],
      [-1.25e-10, '-0.000000000125'],
      [237.35250854492188, '237.35250854492188'],
    ];
    for (const [n, text] of spelled) {
      assert.equal(decimal(n), text);
      assert.equal(Number(decimal(n)) + 0, n + 0);
    }
  });
});

suite('withFlowTag', () => {
  const tag = (detail: string) => withFlowTag(withDetail(detail), 'relay-1', NOW);
  const marked = (detail: string) => withDetail(detail).toString();

  test('into an element that is there, or a new one, or a new detail', () => {
    const cases: [string, string][] = [
      ['<detail><_flow-tags_ a="1"/></detail>', `<detail><_flow-tags_ a="1" relay-1="${ISO}"/></detail>`],
      ["<detail><_flow-tags_ a='/>' /></detail>", `<detail><_flow-tags_ a='/>'  relay-1="${ISO}"/></detail>`],
      ['<detail><_flow-tags_></_flow-tags_></detail>', `<detail><_flow-tags_ relay-1="${ISO}"></_flow-tags_></detail>`],
      ['<detail><x/></detail>', `<detail><x/><_flow-tags_ relay-1="${ISO}"/></detail>`],
      ['<detail>\n</detail >', `<detail>\n<_flow-tags_ relay-1="${ISO}"/></detail >`],
      ['<detail/>', `<detail><_flow-tags_ relay-1="${ISO}"/></detail>`],
      ['<detail a="b" />', `<detail a="b" ><_flow-tags_ relay-1="${ISO}"/></detail>`],
      ['', `<detail><_flow-tags_ relay-1="${ISO}"/></detail>`],
    ];
    for (const [before, after] of cases) {
      assert.equal(tag(before).toString(), marked(after));
      assert.ok(scanCot(tag(before)).flowTags.includes('relay-1'));
    }
  });

  test('never into something that only looks like it', () => {
    const decoys = [
      '<!-- <_flow-tags_/> </detail> -->',
      '<x><![CDATA[<_flow-tags_/></detail>]]></x>',
      '<x><_flow-tags_/></x>',
    ];
    for (const decoy of decoys) {
      assert.equal(
        tag(`<detail>${decoy}</detail>`).toString(),
        marked(`<detail>${decoy}<_flow-tags_ relay-1="${ISO}"/></detail>`),
      );
    }
    const outside = '<_flow-tags_/><detail><y/></detail><detail2/>';
    assert.equal(
      tag(outside).toString(),
      marked(`<_flow-tags_/><detail><y/><_flow-tags_ relay-1="${ISO}"/></detail><detail2/>`),
    );
  });

  test('an event that is marked already stays as it is', () => {
    const once = tag('<detail/>');
    assert.equal(withFlowTag(once, 'relay-1', NOW + 1), once);
  });

  test('the rest of every event in the corpus is untouched', () => {
    for (const { name, xml } of [...CORPUS, { name: 'server', xml: throughServer }]) {
      const bytes = xml(NOW);
      const after = withFlowTag(bytes, 'relay-1', NOW);
      const { flowTags, ...rest } = scanCot(after);
      const { flowTags: before, ...same } = scanCot(bytes);
      assert.deepEqual(rest, same, name);
      assert.deepEqual(flowTags, [...before, 'relay-1'], name);
      assert.deepEqual(scanCotStrict(after).flowTags, flowTags, name);
    }
  });

  test('an element that is full is left alone', () => {
    const full = `<_flow-tags_${Array.from({ length: MAX_ATTRIBUTES }, (_, i) => ` s${i}="1"`).join('')}/>`;
    assert.ok(scanCot(tag(`<detail>${full}</detail>`)).flowTags.includes('relay-1'));
  });

  test('a name that would break the element is our fault', () => {
    for (const name of ['', 'a b', '1a', 'a="b"', 'ü'])
      assert.throws(() => withFlowTag(atakSa(NOW), name, NOW), TypeError);
  });
});

suite('addresses', () => {
  test('put on, and taken off again', () => {
    const plain = atakSa(NOW);
    const addressed = withMartiDest(plain, ['u"1'], ['ALPHA', 'BRAVO']);
    const { destUids, destCallsigns } = scanCot(addressed);
    assert.deepEqual([destUids, destCallsigns], [['u"1'], ['ALPHA', 'BRAVO']]);
    assert.equal(stripMarti(addressed).toString(), plain.toString());
    assert.deepEqual(scanCot(withMartiDest(withDetail(''), [], ['A'])).destCallsigns, ['A']);
    assert.deepEqual(scanCot(withMartiDest(withDetail('<detail />'), ['A'], [])).destUids, ['A']);
  });

  test('an event that has addresses keeps them; no addresses change nothing', () => {
    const transfer = fileTransfer(NOW);
    assert.equal(withMartiDest(transfer, ['x'], []), transfer);
    const plain = atakSa(NOW);
    assert.equal(withMartiDest(plain, [], []), plain);
    assert.equal(stripMarti(plain), plain);
  });

  test('all of several are taken off', () => {
    const detail = '<detail>a<marti><dest uid="1"/></marti>b<marti/>c<x><marti/></x></detail>';
    assert.equal(
      stripMarti(withDetail(detail)).toString(),
      withDetail('<detail>abc<x><marti/></x></detail>').toString(),
    );
  });
});

suite('detailOf', () => {
  test('the element verbatim', () => {
    for (const detail of ['<detail/>', '<detail a="b" />', '<detail >\n<!-- </detail> --><x/> </detail\t>']) {
      assert.equal(detailOf(withDetail(detail)).toString(), detail);
      assert.equal(detailOf(withDetail(`<x><detail/></x>${detail}<y></y>`)).toString(), detail);
    }
    assert.equal(detailOf(withDetail('')).toString(), '<detail/>');
  });
});
