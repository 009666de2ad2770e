// Who is heard on one interface: which protocol version all of them can read, and which units are there themselves.
import type { TakControl } from '../../wire/tak.ts';
import { DEVICE_MS, HEARD_MS, MAX_DEVICES, MAX_HEARD } from './limits.ts';

/** TAK protocol versions: 0 is XML. */
export type Version = 0 | 1;

interface Device {
  readonly reads: Version;
  readonly atMs: number;
}

export class Devices {
  /** By uid, the one not heard for longest first. */
  readonly #devices = new Map<string, Device>();
  readonly #heard = new Map<string, number>();

  /** An event of this unit came. In XML it says that the sender writes XML, and nothing of what it reads: then XML is spoken. */
  heard(uid: string, inXml: boolean, nowMs: number): void {
    put(this.#heard, uid, nowMs, MAX_HEARD);
    const known = this.#devices.get(uid);
    if (inXml && !(known && nowMs - known.atMs < DEVICE_MS && known.reads === 1)) this.#note(uid, 0, nowMs);
    if (!inXml) this.#note(uid, 1, nowMs);
  }

  /** A device said which versions it reads. */
  said(uid: string, { minVersion, maxVersion }: TakControl, nowMs: number): void {
    this.#note(uid, minVersion <= 1 && maxVersion >= 1 ? 1 : 0, nowMs);
  }

  /** The highest version that everybody heard of late can read; XML while nobody is heard. */
  version(nowMs: number): Version {
    for (const [uid, { atMs }] of this.#devices) if (nowMs - atMs > DEVICE_MS) this.#devices.delete(uid);
    if (this.#devices.size === 0) return 0;
    for (const { reads } of this.#devices.values()) if (reads === 0) return 0;
    return 1;
  }

  /** The unit is on this mesh: what it says was heard here by all. */
  isHere(uid: string, nowMs: number): boolean {
    const atMs = this.#heard.get(uid);
    return atMs !== undefined && nowMs - atMs < HEARD_MS;
  }

  #note(uid: string, reads: Version, atMs: number): void {
    put(this.#devices, uid, { reads, atMs }, MAX_DEVICES);
  }
}

function put<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key); // to the end of the order
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value!);
}
