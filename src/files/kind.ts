// What a file is called, and whether it is what it is called. Names come from phones and go to phones.
import type { FileHandle } from 'node:fs/promises';
import { FileRefusal } from './refusal.ts';
import { listZip } from './zip.ts';

const MAX_NAME = 200;
const HEAD_BYTES = 16;

interface Kind {
  readonly endings: readonly string[];
  readonly mime: string;
  is(head: Buffer): boolean;
}

const begins =
  (...bytes: readonly number[]) =>
  (head: Buffer) =>
    bytes.every((byte, index) => head[index] === byte);

const ZIP: Kind = { endings: ['zip', 'dpk', 'kmz'], mime: 'application/zip', is: begins(0x50, 0x4b) };
const KINDS: readonly Kind[] = [
  ZIP,
  { endings: ['jpg', 'jpeg'], mime: 'image/jpeg', is: begins(0xff, 0xd8, 0xff) },
  { endings: ['png'], mime: 'image/png', is: begins(0x89, 0x50, 0x4e, 0x47) },
  { endings: ['gif'], mime: 'image/gif', is: begins(0x47, 0x49, 0x46, 0x38) },
  { endings: ['pdf'], mime: 'application/pdf', is: begins(0x25, 0x50, 0x44, 0x46) },
  { endings: ['tif', 'tiff', 'ntf'], mime: 'application/octet-stream', is: () => true },
  { endings: ['kml', 'gpx', 'xml', 'cot'], mime: 'application/xml', is: (head) => !head.includes(0) },
];
/** Where nothing is known. Nothing of what a stranger gave is ever called HTML or script. */
const ANY_MIME = 'application/octet-stream';

/** A name that is safe as a file's on any phone, and in a header: no folders, no control characters. */
export function cleanFileName(given: string): string {
  const last = given.split(/[/\\]/).at(-1) ?? '';
  const clean = last.replace(/[\p{C}"<>|:*?;]/gu, '_').replace(/^\.+/, '');
  return clean.slice(-MAX_NAME).trim() || 'file';
}

/** The type it really has, by name and content. @throws FileRefusal `type_wrong`, `zip_unsafe` */
export async function kindOf(file: FileHandle, name: string, size: number): Promise<string> {
  const head = Buffer.alloc(HEAD_BYTES);
  const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
  const start = head.subarray(0, bytesRead);
  const ending = /\.([a-z0-9]{1,5})$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  const kind = KINDS.find(({ endings }) => endings.includes(ending));
  if (kind && !kind.is(start))
    throw new FileRefusal('type_wrong', `it is called .${ending} and its bytes are not that`);
  if (kind === ZIP || isLocalHeader(start)) await listZip(file, size);
  return kind?.mime ?? (isLocalHeader(start) ? ZIP.mime : ANY_MIME);
}

/** Mission packages are sent without an ending at times. */
function isLocalHeader(head: Buffer): boolean {
  return begins(0x50, 0x4b, 0x03, 0x04)(head);
}
