// What turning one form of an event into another costs, against the plain way: parse everything, build everything.
import { SaxesParser, type SaxesTagPlain } from 'saxes';
import { scanCot } from '../../src/wire/cot.ts';
import { scanFederated } from '../../src/wire/federation.ts';
import { federatedFromXml, xmlFromFederated } from '../../src/wire/federation-xml.ts';
import { takFromXml, xmlFromTak } from '../../src/wire/tak.ts';
import { decode, encode } from '../support/peers/grpcjs/wire.ts';
import { compare } from './micro.ts';
import { fedEvent, xmlEvent } from './payload.ts';
import { type Row, report, round } from './report.ts';

const xml = xmlEvent(7);
const fed = fedEvent(7);
const event = scanCot(xml);
const fedScan = scanFederated(fed);
const tak = takFromXml(xml, event);
const text = xml.toString('utf8');

/** Every tag through a general parser, then the message through a general encoder. */
function plainFromXml(): Buffer {
  const tags: SaxesTagPlain[] = [];
  const parser = new SaxesParser();
  parser.on('opentag', (tag) => tags.push(tag as SaxesTagPlain));
  parser.write(xml.toString('utf8')).close();
  const attributes = (name: string) => tags.find((tag) => tag.name === name)!.attributes;
  const [head, point] = [attributes('event'), attributes('point')];
  return encode('FederatedEvent', {
    event: {
      sendTime: Date.parse(head.time!),
      startTime: Date.parse(head.start!),
      staleTime: Date.parse(head.stale!),
      lat: Number(point.lat),
      lon: Number(point.lon),
      hae: Number(point.hae),
      ce: Number(point.ce),
      le: Number(point.le),
      uid: head.uid,
      type: head.type,
      coordSource: head.how,
      other: text.slice(text.indexOf('<detail'), text.lastIndexOf('</event>')),
    },
  });
}

function plainFromFederated(): Buffer {
  const geo = decode('FederatedEvent', fed).event!;
  const iso = (ms: number) => new Date(ms).toISOString();
  const times = `time="${iso(geo.sendTime)}" start="${iso(geo.startTime)}" stale="${iso(geo.staleTime)}"`;
  const point = `<point lat="${geo.lat}" lon="${geo.lon}" hae="${geo.hae}" ce="${geo.ce}" le="${geo.le}"/>`;
  const head = `<event version="2.0" uid="${geo.uid}" type="${geo.type}" how="${geo.coordSource}" ${times}>`;
  return Buffer.from(`${head}${point}${geo.other}</event>`);
}

const ns = compare({
  xmlToFed: () => federatedFromXml(xml, event),
  plainFromXml,
  fedToXml: () => xmlFromFederated(fed, fedScan.event!),
  plainFromFederated,
  xmlToTak: () => takFromXml(xml, event),
  takToXml: () => xmlFromTak(tak),
});

function row(what: string, ours: number, plain: number): Row {
  return {
    what,
    'us/event': round(ours / 1000),
    'plain way us': round(plain / 1000),
    'times ours': round(plain / ours),
  };
}

report({
  bench: 'xml',
  what: 'One 500-byte position report from one form into another; done once per form, however many peers get it. The header was read before.',
  rows: [
    row('XML to FederatedEvent', ns.xmlToFed, ns.plainFromXml),
    row('FederatedEvent to XML', ns.fedToXml, ns.plainFromFederated),
    { what: 'XML to TAK protobuf', 'us/event': round(ns.xmlToTak / 1000) },
    { what: 'TAK protobuf to XML', 'us/event': round(ns.takToXml / 1000) },
  ],
  skipped: [],
});
