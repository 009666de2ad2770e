// Escaping and names. The readers of XML are tested with the events they read (cot.test.ts, cot-fuzz.test.ts).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SaxesParser } from 'saxes';
import { decodeAttribute, escapeXml, isXmlName, isXmlText } from '../../src/wire/xml.ts';

test('escaped text is what a parser reads, in both quotes and as content', () => {
  const all = Array.from({ length: 0x300 }, (_, code) => String.fromCharCode(code)).join('');
  const text = `${all} \u2028 \ud83d\udef0 \ufdd0 ]]> &amp; <!-- --> \ufeff`;
  const escaped = escapeXml(text);
  const read: string[] = [];
  const parser = new SaxesParser();
  parser.on('error', (error) => assert.fail(error));
  parser.on('opentag', ({ attributes }) => read.push(...Object.values(attributes)));
  parser.on('text', (content) => read.push(content));
  parser.write(`<x a="${escaped}" b='${escaped}'>${escaped}</x>`).close();
  const expected = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '\ufffd');
  assert.deepEqual(read, [expected, expected, expected]);
  assert.equal(decodeAttribute(escaped), expected);
});

test('what XML cannot hold is replaced', () => {
  assert.equal(escapeXml('a\ud800b\udc00c\ufffe\uffffd\0'), 'a\ufffdb\ufffdc\ufffd\ufffdd\ufffd');
  assert.equal(escapeXml('plain ü 🛰'), 'plain ü 🛰');
});

test('what XML can hold', () => {
  for (const text of ['', 'ü\t\n\r 🛰', '\u007f\u0085\ud7ff\ue000\ufffd']) assert.ok(isXmlText(text));
  for (const text of ['\0', 'a\u001fb', '\ufffe', 'x\uffff']) assert.ok(!isXmlText(text));
});

test('names that may be written', () => {
  for (const name of ['a', '_flow-tags_', 'TAK-Server-2d5b', 'x:y.z9']) assert.ok(isXmlName(name), name);
  for (const name of ['', '-a', '9a', 'a b', 'a=', 'ü', 'a\n', 'a>']) assert.ok(!isXmlName(name), name);
});
