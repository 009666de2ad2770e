// npm run check: everything that must hold before a commit, cheapest first. Stops at the first step that fails.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const STEPS = [
  { name: 'types', command: ['node_modules/.bin/tsc', '-p', '.'] },
  { name: 'lint', command: ['node_modules/.bin/biome', 'check', '.'] },
  { name: 'architecture', command: [process.execPath, 'scripts/test.mjs', 'test/architecture.test.ts'] },
  { name: 'tests', command: [process.execPath, 'scripts/test.mjs'] },
];

const times = [];
for (const { name, command } of STEPS) {
  console.log(`\n== ${name}`);
  const startedMs = performance.now();
  const { status, error } = spawnSync(command[0], command.slice(1), {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const took = `${name} ${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
  if (status !== 0) {
    console.error(`\ncheck: failed at ${took}${error ? ` (${error.message})` : ''}`);
    process.exit(1);
  }
  times.push(took);
}
console.log(`\ncheck: all passed: ${times.join(', ')}`);
