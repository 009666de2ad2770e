// Reading events: every rule of scanCot(), for the fast walker and for the strict parser alike.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { CotEvent } from '../../src/core/message.ts';
import { ProtocolError } from '../../src/lib/errors.ts';
import { parseAuth, scanCot, scanCotStrict, scanDetail, scanDetailContent, trimCot } from '../../src/wire/cot.ts';
import { MAX_DESTINATIONS, MAX_TYPE_BYTES, MAX_UID_BYTES, MAX_VALUE_BYTES } from '../../src/wire/cot-fields.ts';
import { MAX_ATTRIBUTES, MAX_DEPTH } from '../../src/wire/xml.ts';
import { atakSa, CORPUS, disconnect, fedTestAlpha, geoChat, winTakSa } from '../fixtures/events.ts';

const NOW = Date.UTC(2026, 10, 20, 14, 3, 21, 123);
const TIME = '2026-11-20T14:03:21.123Z';
const HEAD = `uid="u" type="a-u-G" time="${TIME}" start="${TIME}" stale="${TIME}" how="m-g"`;
const POINT = '<point lat="1" lon="2" hae="3" ce="4" le="5"/>';

/** An event of these parts; each has a good default. */
function event({ head = HEAD, point = POINT, detail = '<detail/>' } = {}): string {
  return `<event version="2.0" ${head}>${point}${detail}</event>`;
}

function inDetail(content: string): string {
  return event({ detail: `<detail>${content}</detail>` });
}

/** Both readers say the same. */
function read(xml: string | Buffer): CotEvent {
  const bytes = Buffer.from(xml as string);
  const fast = scanCot(bytes);
  assert.deepEqual(fast, scanCotStrict(bytes));
  return fast;
}

/** Both readers refuse; the fast one with this code, if one is given. */
function refuses(xml: string | Buffer, code?: string): void {
  const bytes = Buffer.from(xml as string);
  assert.throws(() => scanCot(bytes), { name: 'ProtocolError', ...(code && { code }) }, String(xml));
  assert.throws(() => scanCotStrict(bytes), ProtocolError, String(xml));
}

suite('what an event says', () => {
  test('a position report of ATAK', () => {
    assert.deepEqual(read(atakSa(NOW)), {
      uid: 'ANDROID-589520ccfcd20f01',
      type: 'a-f-G-U-C',
      how: 'm-g',
      timeMs: NOW,
      startMs: NOW,
      staleMs: NOW + 75_000,
      lat: 48.12345678901234,
      lon: 24.56789012345678,
      hae: 283.6543210987123,
      ce: 9.9,
      le: 9999999,
      callsign: 'VIPER-21',
      endpoint: '*:-1:stcp',
      team: 'Cyan',
      role: 'Team Member',
      destUids: [],
      destCallsigns: [],
      destMissions: [],
      chatId: '',
      flowTags: [],
      linkUid: '',
      sender: '',
      feedUid: '',
    });
  });

  test('a chat message to one', () => {
    const chat = read(geoChat(NOW, { to: 'ANDROID-b6', room: 'BRAVO-6', dest: 'callsign="BRAVO-6"' }));
    assert.equal(chat.chatId, 'ANDROID-b6');
    assert.deepEqual(chat.destCallsigns, ['BRAVO-6']);
    assert.deepEqual(chat.destUids, []);
    assert.equal(chat.linkUid, 'ANDROID-589520ccfcd20f01');
  });

  test('who left, and the group element of the guides', () => {
    assert.equal(read(disconnect(NOW, { uid: 'phone-7' })).linkUid, 'phone-7');
    const alpha = read(fedTestAlpha(NOW));
    assert.deepEqual([alpha.callsign, alpha.team, alpha.role], ['FED-TEST-ALPHA', 'Blue', 'Team Member']);
  });

  test('both readers agree on the whole corpus, wherever it lies in a buffer', () => {
    for (const { name, xml } of CORPUS) {
      const bytes = xml(NOW);
      const whole = read(bytes);
      const shifted = Buffer.concat([Buffer.from('###'), bytes, Buffer.from('>###')]).subarray(3, 3 + bytes.length);
      assert.deepEqual(scanCot(shifted), whole, name);
      assert.notEqual(whole.callsign, 'FAKE', name);
      assert.notEqual(whole.team, 'Fake', name);
    }
  });

  test('attributes in any order and either quotes, > in values, space around =', () => {
    const head = `stale = '${TIME}'\n how='h-e'\ttype="a>b"  time="${TIME}" uid='say "hi"'`;
    const said = read(event({ head, point: "<point le='5' hae='3' ce='4' lon='-2.5' lat='-1' />" }));
    assert.deepEqual([said.uid, said.type, said.how], ['say "hi"', 'a>b', 'h-e']);
    assert.deepEqual([said.lat, said.lon, said.hae], [-1, -2.5, 3]);
    assert.equal(said.startMs, NOW, 'start is time when it is missing');
  });

  test('references and white space in values', () => {
    const said = read(inDetail('<contact callsign="&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x1F6F0; a\tb\r\nc&#10;d"/>'));
    assert.equal(said.callsign, `<>&"'AB🛰 a b c\nd`);
  });

  test('UTF-8 in values', () => {
    assert.equal(read(inDetail('<contact callsign="ЩИТ-7 ☂"/>')).callsign, 'ЩИТ-7 ☂');
  });

  test('elements count only at their place', () => {
    const fakes =
      '<contact callsign="F"/><__group name="F"/><dest uid="F"/><__chat id="F"/><link uid="F"/><_flow-tags_ F="1"/>';
    const outside = read(
      event({ detail: `${fakes}<wrap>${fakes}<detail/></wrap><detail><wrap>${fakes}</wrap></detail>${fakes}` }),
    );
    assert.deepEqual(outside, read(event()));
    assert.deepEqual(read(inDetail('<marti/><dest uid="F"/><x><dest uid="F"/></x>')).destUids, []);
    assert.deepEqual(read(inDetail('<marti><x><dest uid="F"/></x><dest uid="T"/></marti>')).destUids, ['T']);
  });

  test('not in comments, CDATA, instructions, text or values', () => {
    const fake = '<contact callsign="FAKE"/>';
    const odd = [
      `<!-- ${fake} -->`,
      `<r><![CDATA[${fake}]]></r>`,
      `<?x ${fake}?>`,
      `<r v="&lt;contact callsign='FAKE'/>"/>`,
    ];
    for (const text of [...odd, '<r>&lt;contact callsign="FAKE"/&gt;</r>', '<x:contact callsign="FAKE"/>']) {
      assert.equal(read(inDetail(`${text}<contact callsign="REAL"/>`)).callsign, 'REAL', text);
    }
  });

  test('of repeated elements the first counts, of destinations all', () => {
    assert.equal(read(inDetail('<contact callsign="1"/><contact callsign="2"/>')).callsign, '1');
    assert.equal(read(inDetail('<contact/><contact callsign="2"/>')).callsign, '');
    assert.equal(
      read(inDetail('<group name="Blue"/><group name="Red"/><__group name="Cyan"/><__group name="X"/>')).team,
      'Cyan',
    );
    assert.equal(read(inDetail('<__group name="Cyan"/><group name="Blue"/>')).team, 'Cyan');
    assert.equal(read(inDetail('<link uid="1"/><link uid="2"/>')).linkUid, '1');
    const said = read(
      inDetail(
        '<marti><dest uid="1"/><dest callsign="c" mission=""/></marti><marti><dest uid="2" mission="m"/></marti>',
      ),
    );
    assert.deepEqual([said.destUids, said.destCallsigns, said.destMissions], [['1', '2'], ['c'], ['m']]);
    assert.deepEqual(read(inDetail('<_flow-tags_ a="1" b="2"/><_flow-tags_ c="3"/>')).flowTags, ['a', 'b', 'c']);
  });

  test('nothing is shared between events that say nothing', () => {
    const first = read(inDetail('<marti><dest uid="1"/></marti>'));
    assert.deepEqual(read(inDetail('')).destUids, []);
    assert.deepEqual(first.destUids, ['1']);
  });
});

suite('times', () => {
  const timed = (time: string) => read(event({ head: `uid="u" type="t" time="${time}" stale="${TIME}"` })).timeMs;

  test('the usual forms', () => {
    assert.equal(timed('2026-11-20T14:03:21Z'), NOW - 123);
    assert.equal(timed('2026-11-20T14:03:21.1Z'), NOW - 23);
    assert.equal(timed('2026-11-20T14:03:21.123999999Z'), NOW);
    assert.equal(timed('2026-11-20T16:03:21.123+02:00'), NOW);
    assert.equal(timed('2026-11-20T08:33:21.123-05:30'), NOW);
  });

  test('less usual forms', () => {
    assert.equal(timed('2026-11-20T14:03Z'), NOW - 21_123);
    assert.equal(timed('2026-11-20 14:03:21,123 UTC'), NOW);
    assert.equal(timed('2026-11-20t14:03:21.123z'), NOW);
    assert.equal(timed('2026-11-20T15:03:21.123+0100'), NOW);
    assert.equal(timed('2026-11-20T15:03:21.123+01'), NOW);
    assert.equal(timed(' 2026-11-20T14:03:21.123 '), NOW, 'without a zone it is UTC');
    assert.equal(timed('2026-11-20T14:03:21&#46;123Z'), NOW);
  });

  test('every day from 1970 to 2100, and the ends of the range', () => {
    for (let ms = 0; ms < Date.UTC(2101, 0); ms += 86_400_000) {
      const text = new Date(ms + 3_723_004).toISOString();
      assert.equal(timed(text), ms + 3_723_004, text);
    }
    assert.equal(timed('9999-12-31T23:59:59.999Z'), Date.UTC(9999, 11, 31, 23, 59, 59, 999));
  });

  test('what is no time', () => {
    const bad = ['', '1', 'yesterday', '2026-13-01T00:00:00Z', '2026-02-29T00:00:00Z', '2026-00-10T00:00:00Z'];
    const worse = ['2026-11-20T24:00:00Z', '2026-11-20T14:60:00Z', '2026-11-20T14:03:21.Z', '2026-11-20T14:03:21ZZ'];
    const worst = ['1969-12-31T23:59:59Z', '9999-12-31T23:59:59-01:00', '2026-11-20', `${TIME}${' '.repeat(100)}`];
    for (const time of [...bad, ...worse, ...worst, '+002026-11-20T14:03:21Z', '٢٠٢٦-11-20T14:03:21Z']) {
      refuses(event({ head: `uid="u" type="t" time="${time}" stale="${TIME}"` }), 'bad_time');
    }
  });

  test('a time that nobody set is missing', () => {
    refuses(event({ head: `uid="u" type="t" time="1970-01-01T00:00:00Z" stale="${TIME}"` }), 'missing_time');
    const unset = read(event({ head: `uid="u" type="t" time="${TIME}" start="1970-01-01T00:00:00Z" stale="${TIME}"` }));
    assert.equal(unset.startMs, NOW);
  });
});

suite('places', () => {
  const at = (point: string) => read(event({ point: `<point ${point}/>` }));

  test('numbers in every usual spelling, as exact as Number() reads them', () => {
    for (const text of [
      '0',
      '-0',
      '90',
      '-90.0',
      '37.954121501941216',
      '4.5e1',
      '+7.',
      '.5',
      ' 12.5 ',
      '1E-7',
      '0000000000000000000012.25',
    ]) {
      assert.equal(at(`lat="${text}" lon="0"`).lat, Number(text) + 0, text);
    }
    for (const text of [
      '900719925.4740993',
      '0.1234567890123456789012345678901234567890',
      '179.99999999999999999999',
    ]) {
      assert.equal(at(`lat="0" lon="0" hae="${text}"`).hae, Number(text), text);
    }
  });

  test('height and errors may be unknown', () => {
    const said = at('lat="1" lon="2" hae="NaN" ce="nan"');
    assert.deepEqual([said.hae, said.ce, said.le], [9999999, 9999999, 9999999]);
  });

  test('what is no place', () => {
    const bad = [
      'lat="1"',
      'lon="1"',
      'lat="" lon="1"',
      'lat="NaN" lon="1"',
      'lat="90.1" lon="1"',
      'lat="-91" lon="1"',
    ];
    const worse = [
      'lat="1" lon="180.1"',
      'lat="1" lon="-Infinity"',
      'lat="0x10" lon="1"',
      'lat="48,1" lon="1"',
      'lat="1" lon="1 2"',
    ];
    const worst = [
      'lat="1" lon="1" hae="1e10"',
      'lat="1" lon="1" ce="x"',
      'lat="1" lon="1" le="1e999"',
      `lat="${'1'.repeat(400)}" lon="1"`,
    ];
    for (const point of [...bad, ...worse, ...worst, 'lat="." lon="1"', 'lat="-" lon="1"', 'lat="1.2.3" lon="1"']) {
      refuses(event({ point: `<point ${point}/>` }), 'bad_point');
    }
  });
});

suite('what is refused', () => {
  test('events without what every event has', () => {
    const without = (name: string) => event({ head: HEAD.replace(new RegExp(` ?${name}="[^"]*"`), '') });
    refuses(without('uid'), 'missing_uid');
    refuses(without('type'), 'missing_type');
    refuses(without('time'), 'missing_time');
    refuses(without('stale'), 'missing_stale');
    refuses(event({ head: HEAD.replace('"u"', '""') }), 'missing_uid');
    refuses(event({ point: '' }), 'missing_point');
    refuses(event({ point: '', detail: `<detail>${POINT}</detail>` }), 'missing_point');
    assert.equal(read(without('how')).how, '');
    assert.equal(read(without('start')).startMs, NOW);
  });

  test('two points or two details: a filter and a receiver could look at different ones', () => {
    refuses(event({ point: POINT + POINT }), 'duplicate_point');
    refuses(event({ detail: '<detail/><detail/>' }), 'duplicate_detail');
  });

  test('values too long', () => {
    assert.equal(
      read(event({ head: HEAD.replace('"u"', `"${'ü'.repeat(MAX_UID_BYTES / 2)}"`) })).uid.length,
      MAX_UID_BYTES / 2,
    );
    refuses(event({ head: HEAD.replace('"u"', `"${'ü'.repeat(MAX_UID_BYTES / 2)}x"`) }), 'too_long');
    refuses(event({ head: HEAD.replace('a-u-G', 'a'.repeat(MAX_TYPE_BYTES + 1)) }), 'too_long');
    refuses(inDetail(`<contact callsign="${'x'.repeat(MAX_VALUE_BYTES + 1)}"/>`), 'too_long');
    refuses(inDetail(`<link uid="${'x'.repeat(MAX_UID_BYTES + 1)}"/>`), 'too_long');
  });

  test('too many of anything', () => {
    const dests = '<dest uid="1"/>'.repeat(MAX_DESTINATIONS);
    assert.equal(read(inDetail(`<marti>${dests}</marti>`)).destUids.length, MAX_DESTINATIONS);
    refuses(inDetail(`<marti>${dests}<dest uid="1"/></marti>`), 'too_many_destinations');
    const attributes = Array.from({ length: MAX_ATTRIBUTES }, (_, i) => ` a${i}=""`).join('');
    read(inDetail(`<x${attributes}/>`));
    refuses(inDetail(`<x${attributes} b=""/>`), 'too_many_attributes');
    const levels = MAX_DEPTH - 2;
    read(inDetail('<x>'.repeat(levels) + '</x>'.repeat(levels)));
    refuses(inDetail('<x>'.repeat(levels + 1) + '</x>'.repeat(levels + 1)), 'too_deep');
    refuses(inDetail(`${'<x>'.repeat(levels)}<x/>${'</x>'.repeat(levels)}`), 'too_deep');
  });

  test('document types and entities', () => {
    refuses(`<!DOCTYPE event [<!ENTITY a "b">]>${event()}`, 'dtd_refused');
    refuses(`<?xml version="1.0"?><!DOCTYPE event SYSTEM "file:///etc/passwd">${event()}`, 'dtd_refused');
    refuses(inDetail('<!ENTITY a "b">'), 'dtd_refused');
    refuses(inDetail('<contact callsign="&a;"/>'), 'bad_reference');
    refuses(inDetail('<remarks>&a;</remarks>'), 'bad_reference');
  });

  test('broken references, also where nobody looks', () => {
    for (const broken of [
      '&',
      '& ',
      '&amp',
      '&lt ;',
      '&;',
      '&AMP;',
      '&#;',
      '&#x;',
      '&#xg;',
      '&#12a;',
      '&#X41;',
      '&constructor;',
    ]) {
      refuses(inDetail(`<x a="${broken}"/>`), 'bad_reference');
      refuses(inDetail(`<x>${broken}</x>`), 'bad_reference');
    }
    for (const none of ['&#0;', '&#8;', '&#xD800;', '&#xFFFE;', '&#1114112;', '&#99999999999999999999;']) {
      refuses(inDetail(`<x a="${none}"/>`), 'bad_reference');
    }
  });

  test('markup that is not well-formed', () => {
    const broken = [
      '<x>',
      '</x>',
      '<x></y>',
      '<x></xx>',
      '<xx></x>',
      '<x a></x>',
      '<x a=b/>',
      '<x a="1"b="2"/>',
      '<x a="1" a="2"/>',
    ];
    const more = [
      '< x/>',
      '<1x/>',
      '<x/ >',
      '<x a="<"/>',
      '<x>]]></x>',
      '<x a="\u0001"/>',
      '\u0000',
      '<x a="\uffff"/>',
      '\ufffe',
      '<>',
      '</>',
    ];
    const odd = [
      '<!-- -- -->',
      '<!--->',
      '<!-- x',
      '<![CDATA[ x',
      '<?xml version="1.0"?>',
      '<?x',
      '<é',
      '<×/>',
      '<x ×=""/>',
      '</detail><detail>',
    ];
    for (const content of [...broken, ...more]) refuses(inDetail(content), 'bad_xml');
    for (const content of odd) refuses(inDetail(content));
    const many = Array.from({ length: 100 }, (_, i) => ` a${i}=""`).join('');
    refuses(inDetail(`<x${many} a7=""/>`), 'bad_xml');
    refuses(inDetail(`<x${many} b="" b=""/>`), 'bad_xml');
    read(inDetail(`<x${many}/><y${many}/>`));
  });

  test('bytes that are not UTF-8, also where nobody looks', () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xf4, 0x90, 0x80, 0x80]]) {
      const [before, after] = inDetail('<remarks>#</remarks>').split('#');
      refuses(Buffer.concat([Buffer.from(before!), Buffer.from(bytes), Buffer.from(after!)]), 'bad_utf8');
    }
  });

  test('anything but one event that ends in </event>', () => {
    for (const more of ['x', event(), '<!-- x -->', '\0', '</event>']) {
      refuses(event() + more);
    }
    refuses(event().replace('</event>', '</event >'), 'bad_end');
    refuses('<event/>', 'bad_end');
    refuses(event().slice(0, -1), 'bad_end');
    refuses('', 'not_xml');
    refuses('GET / HTTP/1.1', 'not_xml');
    refuses(`<auth>${event()}`, 'not_event');
  });

  test('</event> inside the event: every receiver would cut there', () => {
    refuses(inDetail('<event></event>'), 'nested_event');
    refuses(inDetail('<x><event/></x>'), 'nested_event');
    refuses(event({ detail: '<x><event/></x>' }), 'nested_event');
    refuses(inDetail('<!-- </event> -->'), 'inner_end');
    refuses(inDetail('<x><![CDATA[</event>]]></x>'), 'inner_end');
    refuses(inDetail('<?x </event>?>'), 'inner_end');
  });
});

suite('around the event', () => {
  test('mark, declaration, comments and white space in front, white space behind', () => {
    const xml = event();
    const wrapped = Buffer.from(
      `\ufeff \r\n<?xml version="1.0" encoding="utf-16"?>\n<!-- <event> -- --> <?x?>${xml}\r\n \t`,
    );
    assert.deepEqual(read(wrapped), read(xml));
    assert.equal(trimCot(wrapped).toString(), xml);
    const bare = Buffer.from(xml);
    assert.equal(trimCot(bare), bare);
    assert.throws(() => read(`<?xml version="1.0" ${xml}`), { code: 'bad_xml' });
    assert.throws(() => read(`<!-- ${xml}`), { code: 'bad_xml' });
    assert.throws(() => trimCot(winTakSa(NOW).subarray(0, 400)), { code: 'bad_end' });
  });
});

suite('details by themselves', () => {
  const content = '<contact callsign="C"/><__group name="Red" role="HQ"/><marti><dest uid="d"/></marti>';

  test('an element, as federation carries it', () => {
    const said = scanDetail(Buffer.from(` <detail a="b">${content}</detail>\n`));
    assert.deepEqual([said.callsign, said.team, said.role, said.destUids], ['C', 'Red', 'HQ', ['d']]);
    assert.equal(scanDetail(Buffer.from('<detail/>')).callsign, '');
    assert.equal(scanDetail(Buffer.from('<detail><!-- x --><contact callsign="C"/></detail>')).callsign, 'C');
  });

  test('the content, as the TAK protocol carries it', () => {
    const said = scanDetailContent(Buffer.from(`text ${content} text`));
    assert.deepEqual([said.callsign, said.team, said.destUids], ['C', 'Red', ['d']]);
    assert.deepEqual([said.hasContact, said.hasGroup], [true, true]);
    assert.equal(scanDetailContent(Buffer.alloc(0)).hasContact, false);
    assert.equal(scanDetailContent(Buffer.from('<?x?><contact callsign="C"/>')).callsign, 'C');
  });

  test('what would break out of its place', () => {
    const element = [
      '',
      'x',
      '<x/>',
      '<detail/><detail/>',
      '<detail/>x',
      '<detail>',
      '<detail></detail></event><event>',
    ];
    const odd = [
      '<!-- -->',
      '<detail><!-- </event> --></detail>',
      '<detail><?xml version="1.0"?></detail>',
      '<!DOCTYPE x><detail/>',
    ];
    for (const xml of [...element, ...odd, '<detail><event/></detail>']) {
      assert.throws(() => scanDetail(Buffer.from(xml)), ProtocolError, xml);
    }
    const inner = [
      '</detail><detail>',
      '<x>',
      '</x>',
      '</x><x>',
      '<?xml version="1.0"?>',
      '<!-- </event> -->',
      '<!-- -->]]>',
      '&',
      '<event/>',
    ];
    for (const xml of inner) assert.throws(() => scanDetailContent(Buffer.from(xml)), ProtocolError, xml);
  });
});

suite('auth', () => {
  test('the credentials of a client', () => {
    const xml = '<auth><cot username="al" password="a&amp;b &#x41;\'" uid="u-1" callsign="AL"/></auth>';
    assert.deepEqual(parseAuth(Buffer.from(xml)), { username: 'al', password: "a&b A'", uid: 'u-1', callsign: 'AL' });
    assert.equal(parseAuth(Buffer.from('<auth><cot username="al"/></auth>')).password, '');
  });

  test('what is none', () => {
    const none = [
      '',
      '<auth/>',
      '<auth><cot/></auth>',
      '<auth><x><cot username="a"/></x></auth>',
      '<event><cot username="a"/></event>',
    ];
    const broken = [
      '<auth><cot username="a"></auth>',
      '<auth><cot username="a"/></auth>x',
      '<auth><!-- x --><cot username="a"/></auth>',
    ];
    for (const xml of [...none, ...broken, `<auth><cot username="${'a'.repeat(5000)}"/></auth>`]) {
      assert.throws(() => parseAuth(Buffer.from(xml)), ProtocolError, xml.slice(0, 80));
    }
  });
});
