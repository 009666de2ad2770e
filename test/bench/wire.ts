// What reading an event costs: the relay's scanners against general parsers that hand over everything.
import { SaxesParser } from 'saxes';
import { scanCot, scanCotStrict } from '../../src/wire/cot.ts';
import { forwardFederated, scanFederated } from '../../src/wire/federation.ts';
import { scanTak, takFromXml } from '../../src/wire/tak.ts';
import { decode, encode } from '../support/peers/grpcjs/wire.ts';
import { compare } from './micro.ts';
import { fedEvent, xmlEvent } from './payload.ts';
import { type Row, report, round } from './report.ts';

const xml = xmlEvent(7);
const fed = fedEvent(7);
const tak = takFromXml(xml, scanCot(xml));
const stamp = { groups: ['Blue'], self: { id: 'ws-bench', name: 'bench' }, hops: { max: -1, current: 2 } };
const decoded = decode('FederatedEvent', fed);
const stamped = {
  ...decoded,
  federateGroups: ['Blue'],
  federateProvenance: [{ federationServerId: 'ws-bench', federationServerName: 'bench' }],
  federateHops: { maxHops: -1, currentHops: 2 },
};

function saxes(text: string): number {
  let attributes = 0;
  const parser = new SaxesParser();
  parser.on('opentag', (tag) => {
    attributes += Object.keys(tag.attributes).length;
  });
  parser.write(text).close();
  return attributes;
}

const ns = compare({
  scanCot: () => scanCot(xml),
  scanCotStrict: () => scanCotStrict(xml),
  saxes: () => saxes(xml.toString('utf8')),
  scanTak: () => scanTak(tak),
  scanFederated: () => scanFederated(fed),
  protobufDecode: () => decode('FederatedEvent', fed),
  protobufSaxes: () => saxes(decode('FederatedEvent', fed).event!.other),
  forwardFederated: () => forwardFederated(fed, stamp),
  protobufEncode: () => encode('FederatedEvent', stamped),
});

function row(what: string, bytes: Buffer, ours: number, other: string, theirs: number): Row {
  return {
    what,
    bytes: bytes.length,
    'ours us': round(ours / 1000),
    'compared with': other,
    'theirs us': round(theirs / 1000),
    'times ours': round(theirs / ours),
  };
}

report({
  bench: 'wire',
  what: 'One position report, read as far as routing needs it, or handed on with groups, provenance and hops.',
  rows: [
    row('XML: scanCot', xml, ns.scanCot, 'saxes, whole document', ns.saxes),
    row('XML: scanCotStrict (odd input)', xml, ns.scanCotStrict, 'saxes, whole document', ns.saxes),
    row('TAK protobuf: scanTak', tak, ns.scanTak, 'scanCot of the same event', ns.scanCot),
    row('FederatedEvent: scanFederated', fed, ns.scanFederated, 'protobufjs decode', ns.protobufDecode),
    row('FederatedEvent: scanFederated', fed, ns.scanFederated, 'the same, saxes on its detail', ns.protobufSaxes),
    row('FederatedEvent: forwardFederated', fed, ns.forwardFederated, 'protobufjs encode', ns.protobufEncode),
  ],
  skipped: [],
});
