// The page about what crosses, made of the same data as the test.
import { ABSENCES, KINDS, type Kind, LOSSES } from './losses.ts';

const NAMES = { tak: 'TAK protobuf', fed: 'FederatedEvent', xml: 'XML', any: 'any' } as const;

export function crossesTable(events: readonly string[], isSameBytes: (from: Kind, to: Kind) => boolean): string {
  const rows = KINDS.map(
    (from) => `| **${from}** | ${KINDS.map((to) => (isSameBytes(from, to) ? '=' : '≅')).join(' | ')} |`,
  );
  const losses = LOSSES.map(
    ({ formats, words, why }) => `| ${words} | ${formats.map((format) => NAMES[format]).join(', ')} | ${why} |`,
  );
  const absences = ABSENCES.map(
    ({ words, from, to, why }) =>
      `| ${words} | ${(from ?? ['any']).join(', ')} | ${(to ?? ['any']).join(', ')} | ${why} |`,
  );
  return `# What crosses from link to link

\`test/links/matrix\` sends every family of events from every kind of link to every kind of link, through a relay and real connections, and compares what arrives. This page is made by it
(\`WAYSTATION_WRITE_DOCS=1 npm test -- links/matrix\`) and checked by it: each line below was seen, and nothing else was lost.

\`=\` the bytes of the event as it came (an XML declaration is not part of it; federates' stamps are appended) · \`≅\` every attribute and every element, but for the next table

| from \\ to | ${KINDS.join(' | ')} |
|---|${KINDS.map(() => '---').join('|')}|
${rows.join('\n')}

What the two formats on the way cannot hold:

| What | Format on the way | Why |
|---|---|---|
${losses.join('\n')}

What does not arrive:

| What | From | To | Why |
|---|---|---|---|
${absences.join('\n')}

Sent: ${events.join(', ')}.
`;
}
