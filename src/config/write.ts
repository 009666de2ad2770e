// Replaces the configuration file so that a power cut leaves either the old one or the new one, whole.
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Parsed, type ParseOptions, parseConfig } from './load.ts';

/** Appended to the name of the file that was replaced. */
export const PREVIOUS_SUFFIX = '.previous';
const NEW_FILE = { mode: 0o640, uid: undefined, gid: undefined };

/**
 * Writes `text` to `path` if it is a good configuration; keeps what was there as `path.previous`.
 * A symbolic link is followed; mode and (where allowed) owner are kept; the same text again writes nothing.
 * @returns the configuration, or what is wrong with it (then nothing was written)
 * @throws what the file system throws; the old file is then still in place
 */
export async function writeConfig(
  path: string,
  text: string,
  options: Omit<ParseOptions, 'path'> = {},
): Promise<Parsed> {
  const parsed = parseConfig(text, { ...options, path });
  if ('problems' in parsed) return parsed;
  const target = (await unlessMissing(realpath(path))) ?? path;
  const old = await unlessMissing(readFile(target));
  if (old?.equals(Buffer.from(text))) return parsed;
  const like = old ? await stat(target) : NEW_FILE;
  if (old) await replaceFile(`${target}${PREVIOUS_SUFFIX}`, old, like);
  await replaceFile(target, text, like);
  return parsed;
}

interface Ownership {
  readonly mode: number;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

async function replaceFile(path: string, content: string | Buffer, like: Ownership): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomUUID()}`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await own(file, like);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** Owner first: chown takes set-id bits away. Only root may give a file away; anybody else keeps it their own. */
async function own(file: FileHandle, like: Ownership): Promise<void> {
  const { uid, gid } = await file.stat();
  if (like.uid !== undefined && like.gid !== undefined && (uid !== like.uid || gid !== like.gid)) {
    await file.chown(like.uid, like.gid).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPERM') throw error;
    });
  }
  await file.chmod(like.mode & 0o777);
}

/** Makes the rename itself survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function unlessMissing<Value>(promise: Promise<Value>): Promise<Value | undefined> {
  try {
    return await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
