// Keeps the shape of the code: who may import whom, and what may be said where. Every violation is printed with its reason.
// Each rule is also tried on a planted violation, so that a rule that has gone blind is noticed.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');
const MOST_LINES = 500;

interface Source {
  /** Relative to src/, e.g. 'core/hub.ts'. */
  readonly path: string;
  readonly text: string;
  /** The text with comments blanked out; same lines. */
  readonly code: string;
}

interface Violation {
  readonly path: string;
  readonly line: number;
  readonly found: string;
}

interface Rule {
  readonly name: string;
  readonly why: string;
  find(sources: readonly Source[]): readonly Violation[];
  /** A file that breaks the rule. */
  readonly planted: readonly Pick<Source, 'path' | 'text'>[];
}

// ---- who may import whom -------------------------------------------------------------------------------------------

interface Folder {
  /** Folders it may import from. `core:types` means types, and the constants of core's vocabulary. */
  readonly may: readonly string[];
  /** npm packages, or files of the folder with their own. */
  readonly npm: readonly string[];
  /** node: modules; undefined: any. */
  readonly node?: readonly string[];
  readonly why: string;
}

const FOLDERS: Readonly<Record<string, Folder>> = {
  lib: { may: [], npm: [], why: 'lib is tools that know nothing of relays' },
  core: {
    may: ['lib'],
    npm: [],
    node: ['node:buffer', 'node:crypto'],
    why: 'core is the relay alone: no sockets, files, clocks or formats',
  },
  wire: {
    may: ['core:types', 'lib'],
    npm: ['saxes'],
    node: ['node:buffer', 'node:crypto'],
    why: 'wire is pure: bytes in, messages out',
  },
  identity: {
    may: ['core:types', 'lib'],
    npm: [],
    why: 'identity is keys and trust; it serves links, not the other way',
  },
  links: {
    may: ['core', 'wire', 'identity', 'lib'],
    npm: ['zod'],
    why: 'a link knows the seam (core/session.ts) and its formats only',
  },
  onboarding: {
    may: ['identity', 'lib'],
    npm: ['fflate', 'node-forge', 'uqr', 'zod'],
    why: 'phones get their certificates here; it knows the box’s keys and no server, link or store',
  },
  config: {
    may: ['links', 'telemetry', 'lib'],
    npm: ['diff', 'yaml', 'zod'],
    why: 'config reads, checks and changes the file; it runs nothing',
  },
  bundle: {
    may: ['config', 'core:types', 'lib'],
    npm: [],
    why: 'the bundle writes down what it is given, without secrets',
  },
  doctor: {
    may: ['core', 'links', 'identity', 'lib'],
    npm: [],
    why: 'the doctor looks at what links know and goes their ways anew; it changes nothing',
  },
  sim: {
    may: ['core', 'lib'],
    npm: [],
    node: ['node:buffer'],
    why: 'a simulation runs the real core in virtual time, and nothing else',
  },
  store: {
    may: ['core:types', 'lib'],
    npm: [],
    why: 'the store keeps what it is given; the data path never waits for it',
  },
  telemetry: {
    may: ['core:types', 'links', 'lib'],
    npm: [],
    why: 'telemetry renders one status for a broker; it is never a condition of running',
  },
  recording: {
    may: ['core:types', 'lib'],
    npm: [],
    why: 'recordings are text, on disk and for other programs; they know no relay',
  },
  files: {
    may: ['core', 'wire', 'lib'],
    npm: [],
    why: 'files on disk and on their way between boxes; who may is for core and api to say',
  },
  api: {
    may: ['core', 'config', 'files', 'onboarding', 'recording', 'lib', 'version.ts'],
    npm: ['ws', 'zod'],
    why: 'the API renders one status and edits one config',
  },
  import: {
    may: ['identity', 'lib'],
    npm: ['fflate', 'node-forge', 'saxes', 'yaml'],
    why: 'import reads what strangers wrote, in the command, and changes nothing',
  },
  cli: {
    may: ['core:types', 'config', 'import', 'onboarding', 'recording', 'sim', 'lib', 'version.ts'],
    npm: ['ws'],
    why: 'the command line is an HTTP client of the running relay; a simulation runs without one',
  },
  appliance: {
    may: ['cli', 'config', 'core:types', 'lib'],
    npm: [],
    why: 'the flashed card around the relay: its files, slots and start; the relay itself knows nothing of it',
  },
  'version.ts': { may: ['lib'], npm: [], why: 'everybody may ask what is running' },
};

/** Packages only one file or link may use. */
const OWN_PACKAGES: Readonly<Record<string, string>> = {
  pino: 'lib/log.ts',
  'pino-pretty': 'lib/log.ts',
  'systemd-notify': 'lib/notify.ts',
  mqtt: 'links/mqtt/',
  ws: 'links/portal/',
  busboy: 'api/marti/',
};

/** These put the relay together and may import everything. */
const COMPOSITION = [
  'main.ts',
  'commands.ts',
  'run.ts',
  'relay.ts',
  'file-callers.ts',
  'file-desk.ts',
  'warnings.ts',
  'partner-desk.ts',
  'audit-notes.ts',
  'serve.ts',
  'emcon.ts',
  'upkeep.ts',
  'recorder-desk.ts',
  'inject.ts',
  'pairing.ts',
  'peer-clock.ts',
  'phone-desk.ts',
  'phone-doors.ts',
  'support.ts',
];
/** Nothing but types and closed lists. */
const VOCABULARY = ['core/message.ts', 'core/reason.ts', 'core/session.ts'];

interface Import {
  readonly line: number;
  readonly specifier: string;
  readonly typesOnly: boolean;
}

function importsOf({ code }: Source): readonly Import[] {
  const found: Import[] = [];
  const add = (index: number, specifier: string, typesOnly: boolean) =>
    found.push({ line: lineAt(code, index), specifier, typesOnly });
  for (const match of code.matchAll(/^(?:import|export)\s+(type\s)?([\w\s{},*$]*?)\s*from\s*'([^']+)'/gm)) {
    const names = /^\{([^}]*)\}$/
      .exec(match[2]!.trim())?.[1]
      ?.split(',')
      .filter((name) => name.trim());
    add(match.index, match[3]!, match[1] !== undefined || (names?.every((name) => /^\s*type\s/.test(name)) ?? false));
  }
  for (const match of code.matchAll(/^import\s*'([^']+)'|\b(?:import|require)\(\s*'([^']+)'/gm)) {
    add(match.index, (match[1] ?? match[2])!, false);
  }
  return found;
}

/** Path relative to src/ of what a relative import names. */
function target(source: Source, specifier: string): string {
  return join(dirname(source.path), specifier);
}

function folderOf(path: string): string {
  return path.split('/')[0]!;
}

function mayImport(source: Source, { specifier, typesOnly }: Import): boolean {
  const from = folderOf(source.path);
  const rule = FOLDERS[from];
  if (COMPOSITION.includes(source.path)) return true;
  if (!rule) return false; // a new folder needs a rule first
  if (specifier.startsWith('node:')) return rule.node?.includes(specifier) ?? true;
  if (!specifier.startsWith('.')) {
    const owner = OWN_PACKAGES[specifier];
    return rule.npm.includes(specifier) || (owner !== undefined && source.path.startsWith(owner));
  }
  const to = target(source, specifier);
  if (folderOf(to) === from || rule.may.includes(folderOf(to))) return true;
  return rule.may.includes('core:types') && folderOf(to) === 'core' && (typesOnly || VOCABULARY.includes(to));
}

function forbiddenImports(sources: readonly Source[]): readonly Violation[] {
  return sources.flatMap((source) =>
    importsOf(source)
      .filter((one) => !mayImport(source, one))
      .map(({ line, specifier }) => {
        const rule = FOLDERS[folderOf(source.path)];
        const words = rule
          ? `${folderOf(source.path)} may import ${[...rule.may, ...rule.npm].join(', ') || 'nothing'}: ${rule.why}`
          : 'this folder has no rule yet in test/architecture.test.ts';
        return { path: source.path, line, found: `imports ${specifier} (${words})` };
      }),
  );
}

/** links/<kind>/ of a path, or undefined. */
function kindOf(path: string): string | undefined {
  return /^links\/([^/]+)\//.exec(path)?.[1];
}

function acrossKinds(sources: readonly Source[]): readonly Violation[] {
  return sources.flatMap((source) =>
    importsOf(source)
      .filter(({ specifier }) => {
        const kind = kindOf(source.path);
        if (!kind || !specifier.startsWith('.')) return false;
        const to = target(source, specifier);
        return (kindOf(to) ?? kind) !== kind || to === 'links/index.ts' || to === 'links/runner.ts';
      })
      .map(({ line, specifier }) => ({ path: source.path, line, found: `imports ${specifier}` })),
  );
}

/** Imports of values that lead back to where they started. Types do not count: they are gone at run time. */
function cycles(sources: readonly Source[]): readonly Violation[] {
  const edges = new Map(
    sources.map((source) => [
      source.path,
      importsOf(source)
        .filter(({ specifier, typesOnly }) => specifier.startsWith('.') && !typesOnly)
        .map(({ specifier }) => target(source, specifier)),
    ]),
  );
  const found: Violation[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      const loop = [...trail.slice(trail.indexOf(path)), path];
      found.push({ path, line: 1, found: `imports itself: ${loop.join(' -> ')}` });
      return;
    }
    if (done.has(path)) return;
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return found;
}

// ---- what may be said where ----------------------------------------------------------------------------------------

/** Every match of `pattern` in the code of files that `where` picks. */
function matches(pattern: RegExp, where: (path: string) => boolean): Rule['find'] {
  return (sources) =>
    sources
      .filter(({ path }) => where(path))
      .flatMap(({ path, code }) =>
        [...code.matchAll(new RegExp(pattern, 'gm'))].map((match) => ({
          path,
          line: lineAt(code, match.index),
          found: `says ${match[0].trim()}`,
        })),
      );
}

const inFolders = (...folders: string[]) => {
  return (path: string) => folders.includes(folderOf(path));
};
const outside = (...places: string[]) => {
  return (path: string) => !places.some((place) => path.startsWith(place));
};

const RULES: readonly Rule[] = [
  {
    name: 'files import only from where they may',
    why: 'who may import whom is what keeps the parts apart (src/README.md has the table)',
    find: forbiddenImports,
    planted: [
      { path: 'core/a.ts', text: "import { x } from '../wire/x.ts';" },
      { path: 'core/b.ts', text: "import { connect } from 'node:net';" },
      { path: 'wire/a.ts', text: "import {\n  Hub,\n} from '../core/hub.ts';" },
      { path: 'cli/a.ts', text: "import { type Status, build } from '../core/status.ts';" },
      { path: 'lib/a.ts', text: "import pino from 'pino';" },
      { path: 'links/cot/a.ts', text: "const mqtt = await import('mqtt');" },
      { path: 'newcomer/a.ts', text: "export * from './b.ts';" },
    ],
  },
  {
    name: 'no link imports another kind of link, the list of kinds or the runner',
    why: 'adding or removing a protocol must touch one folder and one line; what two kinds share belongs beside link.ts',
    find: acrossKinds,
    planted: [
      { path: 'links/cot/a.ts', text: "import type { X } from '../fed2/x.ts';" },
      { path: 'links/cot/b.ts', text: "import { kinds } from '../index.ts';" },
    ],
  },
  {
    name: 'no file imports itself by way of others',
    why: 'a loop of imports is one module in several files, and its start order is luck',
    find: cycles,
    planted: [
      { path: 'core/a.ts', text: "import { b } from './b.ts';" },
      { path: 'core/b.ts', text: "import { a } from './a.ts';" },
    ],
  },
  {
    name: 'nobody writes to the console but lib/log.ts',
    why: 'logs are JSON lines with levels and redaction; a stray line breaks whoever reads them',
    find: matches(/\bconsole\.\w+/, outside('lib/log.ts')),
    planted: [{ path: 'api/a.ts', text: "console.log('here');" }],
  },
  {
    name: 'nobody reads the environment but main.ts',
    why: 'what changes behaviour must be visible in one place, and settable in tests',
    find: matches(/\bprocess\.env\b|\benv\b[^;]*from 'node:process'/, outside('main.ts')),
    planted: [{ path: 'lib/a.ts', text: 'const home = process.env.HOME;' }],
  },
  {
    name: 'core and wire know no clock, timer or promise',
    why: 'core runs on the clock it is given, so that tests own the time; from deliver to send nothing waits',
    find: matches(
      /\bDate\.now\b|\bnew Date\(\)|\bset(?:Timeout|Interval|Immediate)\b|\bperformance\.|\bqueueMicrotask\b|\bnextTick\b|\bawait\b/,
      inFolders('core', 'wire'),
    ),
    planted: [
      { path: 'core/a.ts', text: 'const now = Date.now();' },
      { path: 'wire/a.ts', text: 'setTimeout(() => {}, 1);' },
    ],
  },
  {
    name: 'no SQL outside store/',
    why: 'the store decides when the card is written; the data path never waits for it',
    find: matches(
      /node:sqlite|\b(?:SELECT\s.+\sFROM|INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(?:TABLE|INDEX)|PRAGMA\s+\w)/,
      outside('store/'),
    ),
    planted: [
      { path: 'api/a.ts', text: "db.exec('DELETE FROM peers');" },
      { path: 'core/a.ts', text: "import { DatabaseSync } from 'node:sqlite';" },
    ],
  },
  {
    name: 'no EventEmitter and no async iteration in core, wire and links',
    why: 'on the data path one consumer is one method call: its order, its errors and its back-pressure can be read',
    find: matches(/\bEventEmitter\b|\bfor await\b|Symbol\.asyncIterator/, inFolders('core', 'wire', 'links')),
    planted: [{ path: 'links/cot/a.ts', text: 'for await (const chunk of socket) deliver(chunk);' }],
  },
  {
    name: 'no default exports',
    why: 'a thing has one name, wherever it is imported',
    find: matches(/^export default\b/, () => true),
    planted: [{ path: 'lib/a.ts', text: 'export default 1;' }],
  },
  {
    name: 'only lib/asset.ts asks where its own file is',
    why: 'in the single binary every file is the same file; assets are found by readAsset()',
    find: matches(/\bimport\.meta\b|\b__dirname\b|\bcreateRequire\b/, outside('lib/asset.ts')),
    planted: [{ path: 'api/a.ts', text: "readFileSync(new URL('page.html', import.meta.url));" }],
  },
  {
    name: 'zod is imported as a namespace',
    why: '`import * as z` lets the bundler leave out what we do not use, fifty languages among it: 440 kB in the binary, and as much in memory',
    find: matches(/^import\s*(?:type\s*)?\{.*'zod'/, () => true),
    planted: [{ path: 'api/a.ts', text: "import { z } from 'zod';" }],
  },
  {
    name: 'no await outside functions',
    why: 'the single binary is a CommonJS bundle, which cannot wait while it loads',
    find: matches(/^(?![\s}])(?!.*(?:\basync\b|=>)).*\bawait\b/, () => true),
    planted: [{ path: 'main.ts', text: 'process.exitCode = await run();' }],
  },
  {
    name: 'every file begins with a comment',
    why: 'the first words say what the file is for',
    find: (sources) =>
      sources
        .filter(({ text }) => !/^(#!.*\n)?(\/\/|\/\*)/.test(text))
        .map(({ path, text }) => ({ path, line: 1, found: `begins with ${text.split('\n')[0]}` })),
    planted: [{ path: 'lib/a.ts', text: 'export const x = 1;' }],
  },
  {
    name: `no file is longer than ${MOST_LINES} lines`,
    why: 'a file has one subject; the pleasant ones have 50 to 200 lines',
    find: (sources) =>
      sources
        .map(({ path, text }) => ({ path, line: text.trimEnd().split('\n').length }))
        .filter(({ line }) => line > MOST_LINES)
        .map(({ path, line }) => ({ path, line, found: `has ${line} lines` })),
    planted: [{ path: 'lib/a.ts', text: `// Long.\n${'x;\n'.repeat(MOST_LINES)}` }],
  },
];

// ---- reading -------------------------------------------------------------------------------------------------------

function toSource({ path, text }: Pick<Source, 'path' | 'text'>): Source {
  return { path, text, code: withoutComments(text) };
}

/** Strings, templates and regular expressions are recognised only so that a // inside them is not taken for a comment. */
function withoutComments(text: string): string {
  const tokens =
    /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};]\s*|return )\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g;
  return text.replace(tokens, (token) => (/^\/[/*]/.test(token) ? token.replace(/[^\n]/g, ' ') : token));
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

/** Generated files answer to their generator, not to house style. */
function isOurs({ text }: { readonly text: string }): boolean {
  return !/^\/\/ Generated /.test(text);
}

const sources = globSync('src/**/*.ts', { cwd: ROOT })
  .map((file) => ({ path: file.slice('src/'.length), text: readFileSync(join(ROOT, file), 'utf8') }))
  .filter(isOurs)
  .map(toSource);

test('there are sources to look at', () => assert.ok(sources.length > 20));

for (const rule of RULES) {
  test(rule.name, () => {
    const words = rule.find(sources).map(({ path, line, found }) => `  src/${path}:${line} ${found}`);
    if (words.length > 0) assert.fail(`${words.join('\n')}\n  why: ${rule.why}`);
    const caught = rule.find(rule.planted.map(toSource)).map(({ path, found }) => `${path} ${found}`);
    for (const { path } of rule.planted) {
      assert.ok(
        caught.some((line) => line.includes(path)),
        `blind to the planted violation in ${path}`,
      );
    }
  });
}

test('comments are not mistaken for code, nor strings for comments', () => {
  const text = "// Date.now()\n/* await\n */ const url = 'http://x'; // console.log\nconst re = /['/]/g; f('//');\n";
  assert.equal(
    withoutComments(text).replace(/ +$/gm, '').trim(),
    "const url = 'http://x';\nconst re = /['/]/g; f('//');",
  );
});
