// image-sbom.mjs PACKAGES VERSION: prints a CycloneDX 1.6 list of everything in the image: Debian's packages, the npm packages and
// the Node inside the relay's binary. Same input, same bytes: the serial number is made from the content.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const [packagesFile, version] = process.argv.slice(2);
const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));

const debian = readFileSync(packagesFile, 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split('\t'))
  .map(([name, deb, arch, source]) => ({
    type: 'library',
    'bom-ref': `deb:${name}`,
    name,
    version: deb,
    purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(deb)}?arch=${arch}&distro=trixie`,
    properties: [{ name: 'debian:source', value: source || name }],
  }));

/** What npm would install for running, and not the platform's Node: that one is named with its own version. */
const npm = Object.entries(lock.packages)
  .filter(([path, about]) => path.startsWith('node_modules/') && !about.dev && !about.optional)
  .map(([path, about]) => ({ name: path.replace(/^.*node_modules\//, ''), ...about }))
  .map(({ name, version: npmVersion, license, integrity }) => ({
    type: 'library',
    'bom-ref': `npm:${name}@${npmVersion}`,
    name,
    version: npmVersion,
    purl: `pkg:npm/${name.replace('@', '%40')}@${npmVersion}`,
    ...(license ? { licenses: [{ expression: license }] } : {}),
    ...(integrity?.startsWith('sha512-')
      ? { hashes: [{ alg: 'SHA-512', content: Buffer.from(integrity.slice(7), 'base64').toString('hex') }] }
      : {}),
  }));

const node = {
  type: 'platform',
  'bom-ref': 'node',
  name: 'node',
  version: process.versions.node,
  purl: `pkg:generic/node@${process.versions.node}`,
};

const components = [node, ...npm, ...debian];
const digest = createHash('sha256').update(JSON.stringify(components)).digest('hex');
const uuid = digest.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-4$3-a$4-$5');
const bom = {
  bomFormat: 'CycloneDX',
  specVersion: '1.6',
  serialNumber: `urn:uuid:${uuid}`,
  version: 1,
  metadata: {
    component: { type: 'operating-system', 'bom-ref': 'image', name: 'waystation-image', version },
  },
  components,
};
process.stdout.write(`${JSON.stringify(bom, null, 1)}\n`);
