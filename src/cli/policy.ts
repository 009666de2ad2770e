// `waystation policy test`: would this event cross, and which rule decides.
import { parseArgs } from 'node:util';
import type { PolicyReport } from '../core/policy-test.ts';
import { API_HELP, API_OPTIONS, findApi, sendJson } from './client.ts';
import { type Command, EXIT, UsageError } from './command.ts';
import { readEvents, testEvent } from './inject.ts';
import { table } from './table.ts';

export const policyCommand: Command = {
  name: 'policy',
  usage: 'test FILE|-|--test [--from PEER] [--group NAME]... [--json] [--api URL]',
  summary: 'Say for every peer whether an event would cross, and which rule decides; nothing is sent',
  help: [
    '  FILE          CoT XML; its first event is asked about. -: standard input',
    '  --test        the test event of the federation guides',
    '  --from PEER   the peer it would come from: its key, in brackets in "waystation status", or its name; or a link, for',
    '                whoever comes by it (default: a client without rules of its own, in the network main)',
    '  --group NAME  a TAK group it was sent to; may be given more than once',
    '  --json        as JSON',
    API_HELP,
  ].join('\n'),
  async run([what, ...args], context) {
    if (what !== 'test') throw new UsageError('say what to do: test');
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        test: { type: 'boolean', default: false },
        from: { type: 'string' },
        group: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
      },
    });
    const [xml] = values.test ? [testEvent(Date.now())] : await readEvents(positionals, context);
    const question = { xml, groups: values.group, ...(values.from === undefined ? {} : { from: values.from }) };
    const api = await findApi(values, context);
    const report = await sendJson<PolicyReport>(api, 'POST', '/api/policy/test', question, context.signal);
    context.out(values.json ? JSON.stringify(report, null, 2) : renderPolicy(report));
    return EXIT.ok;
  },
};

export function renderPolicy({ event, from, network, entry, peers, directed }: PolicyReport): string {
  const what = `${event.type} ${event.callsign || event.uid}`;
  const lines = [
    `${what}${from ? ` from ${from}` : ''}: ${entry.crosses ? 'let in' : 'NOT LET IN'} (${entry.words})`,
    `Answered for the network ${network}${from ? '' : ', as no --from says where it comes from'}.`,
    ...(directed ? ['It names its recipients: of those who may have it only they get it.'] : []),
    '',
  ];
  if (peers.length === 0) return [...lines, 'no other peers are known'].join('\n');
  const rows = peers.map((peer) => [
    `${peer.name} [${peer.peer}]`,
    entry.crosses && peer.crosses ? 'yes' : 'no',
    peer.rule,
    peer.words,
  ]);
  return [...lines, ...table(['PEER', 'CROSSES', 'RULE', 'WHY'], rows)].join('\n');
}
