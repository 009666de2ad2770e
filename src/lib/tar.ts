// A tar archive (POSIX ustar) of small files, for every tar there is.

export interface TarFile {
  /** At most 100 characters of ASCII. */
  readonly name: string;
  readonly bytes: Buffer;
}

const BLOCK = 512;

/** `wallMs`: the date of every file. Mode 0600, owner root. */
export function tar(files: readonly TarFile[], wallMs: number): Buffer {
  const parts = files.flatMap(({ name, bytes }) => [
    header(name, bytes.length, wallMs),
    bytes,
    Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header(name: string, size: number, wallMs: number): Buffer {
  if (!/^[\x20-\x7e]{1,100}$/.test(name)) throw new Error(`no name for a file in an archive: ${name}`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  block.write(name, 0, 'latin1');
  octal(0o600, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(Math.floor(wallMs / 1000), 136, 12);
  block.fill(' ', 148, 156); // the checksum counts itself as spaces
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
