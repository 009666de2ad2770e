// Loaded before pkg (node -r): makes its output reproducible and small in memory, and gives the binary the flags that
// `npm start` gives Node. pkg writes the path of its temporary folder, which ends in six random letters, into the binary.
// Here it works inside that folder under the constant name '.' instead.
const promises = require('node:fs/promises');
const { transformSync } = require('esbuild');
const startFlags = require('./start-flags.cjs');
const { copyFile, mkdtemp, readFile, rm, writeFile } = promises;
let folder;

promises.mkdtemp = async (prefix, ...rest) => {
  const made = await mkdtemp(prefix, ...rest);
  if (!prefix.endsWith('pkg-sea-')) return made;
  folder = made;
  process.chdir(folder);
  return '.';
};

promises.rm = (path, options) => rm(path === '.' ? folder : path, options);

promises.writeFile = (path, data, ...rest) => {
  if (!String(path).endsWith('sea-config.json')) return writeFile(path, data, ...rest);
  return writeFile(path, JSON.stringify({ ...JSON.parse(data), execArgv: startFlags }), ...rest);
};

/** pkg's own start-up code stays in memory as text: it goes in without comments, and in ASCII, a byte a character. */
promises.copyFile = async (from, to, ...rest) => {
  if (!from.endsWith('sea-bootstrap.bundle.js')) return copyFile(from, to, ...rest);
  const { code } = transformSync(await readFile(from, 'utf8'), { minifySyntax: true, minifyWhitespace: true });
  await writeFile(to, code);
};
