// The licences of everything inside the binary: the bundled packages, pkg's own start-up code, and Node with its parts.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Their start-up code is put into the binary by pkg itself, so no bundle lists them. */
const EMBEDDED_BY_PKG = ['node_modules/@yao-pkg/pkg', 'node_modules/@roberts_lando/vfs'];
const RULE = '='.repeat(78);

/** @returns the text. `metafile` is esbuild's; `nodeFolder` holds the LICENSE of the base Node. */
export function notices(root, metafile, nodeFolder) {
  const own = readFileSync(join(root, 'LICENSE'), 'utf8');
  const node = readFileSync(join(nodeFolder, 'LICENSE'), 'utf8');
  const sections = packageFolders(root, metafile).map((folder) => section(root, folder));
  return [`Waystation\n${RULE}\n${own}`, ...sections, `Node.js ${process.versions.node}\n${RULE}\n${node}`].join(
    `\n${RULE}\n`,
  );
}

function packageFolders(root, metafile) {
  const folders = new Set(EMBEDDED_BY_PKG.filter((folder) => existsSync(join(root, folder))));
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  for (const [file, { bytesInOutput }] of inputs) {
    const folder = file.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1];
    if (folder && bytesInOutput > 0) folders.add(folder);
  }
  return [...folders].sort();
}

function section(root, folder) {
  const about = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  const file = readdirSync(join(root, folder)).find((name) => /^(licen[cs]e|copying)/i.test(name));
  const licence =
    about.license?.type ?? about.license ?? about.licenses?.map(({ type }) => type).join(' OR ') ?? 'unknown';
  const author = about.author?.name ?? about.author ?? 'its authors';
  const text = file
    ? readFileSync(join(root, folder, file), 'utf8')
    : `Copyright ${author}. Licence: ${licence} (the package carries no text).\n`;
  return `${about.name} ${about.version} (${licence})\n${RULE}\n${text}`;
}
