// What the operator of a TAK Server needs to federate with this box, as one zip.
import { zipSync } from 'fflate';

/** Zip entries carry no time of their own. */
const ZIP_TIME = new Date(1980, 0, 1, 12);

/** Names are ours alone. */
export function publicationZip(files: Readonly<Record<string, string>>): Buffer {
  const entries = Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text, 'utf8')]));
  return Buffer.from(zipSync(entries, { level: 6, mtime: ZIP_TIME }));
}
