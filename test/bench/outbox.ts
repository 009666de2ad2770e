// A hundred relays killed at random moments under load (KILLS=n: so many). Not a matter of speed: what must not be lost is counted.
import { runChain } from '../support/outbox-chain.ts';
import { report, round } from './report.ts';

const kills = Number(process.env.KILLS ?? 100);
const cleanUps: (() => unknown)[] = [];
const result = await runChain({ after: (run: () => unknown) => void cleanUps.push(run) } as never, kills, Math.random);
for (const cleanUp of cleanUps.reverse()) await cleanUp();

const { said, lost, twice, lastEdit, unbalanced, duplicatesRefused, restored, tookMs } = result;
report({
  bench: 'outbox',
  what: `${kills} times SIGKILL to one or both of two relays in the middle of a row of four, at random moments under load.`,
  rows: [
    {
      kills,
      'alerts, chat and markers said': said,
      lost: lost.length,
      'shown twice': twice.length,
      'edits of one marker behind': lastEdit.said - lastEdit.shown,
      'books out of balance': unbalanced.length,
      'came again and were refused': duplicatesRefused,
      'found on disk after a kill': restored,
      seconds: round(tookMs / 1000),
    },
  ],
  skipped: [],
});
process.exit(lost.length + twice.length + unbalanced.length > 0 ? 1 : 0);
