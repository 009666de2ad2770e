// An island of TAK users as a thin link sees it: devices of many makes that move, talk and call for help, the same for the
// same seed. For measurements of bytes and delay, where events that look alike by accident would flatter.

/** What one device writes into its reports. */
interface Device {
  readonly uid: string;
  readonly callsign: string;
  readonly dialect: 'atak' | 'wintak' | 'itak';
  readonly takv: string;
  readonly team: string;
  readonly role: string;
  readonly type: string;
  /** Coordinates with all the digits of a double, as after a change of datum; else the seven that receivers give. */
  readonly isLong: boolean;
}

interface Unit {
  readonly device: Device;
  readonly pace: 'still' | 'walks' | 'drives';
  lat: number;
  lon: number;
  hae: number;
  course: number;
  speed: number;
  battery: number;
  /** When it reports next, milliseconds from the start. */
  nextMs: number;
}

export interface Spoken {
  /** From the start of the island. */
  readonly atMs: number;
  readonly kind: 'position' | 'chat' | 'alert' | 'marker';
  readonly uid: string;
  readonly xml: Buffer;
}

export interface IslandOptions {
  readonly seed: number;
  readonly units: number;
  /** The wall clock at its start. */
  readonly wallMs: number;
  /** Every report comes so much more often: how a link is overloaded. */
  readonly haste?: number;
  readonly chatEveryMs?: number;
  readonly alertEveryMs?: number;
  readonly markerEveryMs?: number;
}

const PHONES = [
  'SAMSUNG SM-G998B|34',
  'SAMSUNG SM-S911U|34',
  'SAMSUNG SM-S901B|33',
  'SAMSUNG SM-G781U|33',
  'SAMSUNG SM-T575|31',
  'SAMSUNG SM-T636B|34',
  'SAMSUNG SM-G715FN|32',
  'SAMSUNG SM-G736B|34',
  'GOOGLE PIXEL 6A|34',
  'GOOGLE PIXEL 7 PRO|34',
  'GOOGLE PIXEL 8|35',
  'GOOGLE PIXEL 5|34',
  'ONEPLUS KB2003|33',
  'MOTOROLA MOTO G POWER|30',
  'MOTOROLA XT2125-4|31',
  'XIAOMI 2201117TG|33',
  'XIAOMI M2101K6G|32',
  'SONY XQ-BC52|33',
  'NOKIA XR20|33',
  'CAT S62 PRO|30',
  'ULEFONE ARMOR 21|33',
  'BLACKVIEW BV9900|29',
  'CROSSCALL CORE-X5|30',
  'GETAC ZX70|29',
] as const;
const ATAK_VERSIONS = [
  '5.5.0.7 (9f0a3c21).1733431522-CIV',
  '5.4.0.16 (58c4eb4b).1744830461-CIV',
  '5.2.0.4 (5a2ba9c1).1721931512-CIV',
  '4.10.0.7 (1ef0bfb3).1701186117-CIV',
  '4.8.1.5 (47ea6d5e).1673895216-CIV',
] as const;
const TEAMS = ['Cyan', 'Green', 'Yellow', 'Dark Blue', 'Orange', 'Red', 'White'] as const;
const ROLES = [
  'Team Member',
  'Team Member',
  'Team Member',
  'Team Lead',
  'RTO',
  'Medic',
  'HQ',
  'Forward Observer',
] as const;
const WORDS = [
  'VIPER',
  'GHOST',
  'RAVEN',
  'MEDIC',
  'ANVIL',
  'SABER',
  'OTTER',
  'NOMAD',
  'KESTREL',
  'HAWK',
  'DAGGER',
  'BISON',
] as const;
const SAYINGS = [
  'moving to RV',
  'contact in 5 mikes',
  'at the bridge, holding',
  'need water and batteries',
  'roger',
  'say again?',
  'two vehicles heading north on the river road',
  'casualty stable, waiting for transport',
  'back on station at dawn',
  'checkpoint is closed, take the long way round',
  'copy all',
  'who has the spare radio?',
  'ETA 20 min',
  'all quiet here',
] as const;

/** mulberry32 */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class Island {
  readonly #random: () => number;
  readonly #options: IslandOptions;
  readonly #units: readonly Unit[];
  #nextChatMs: number;
  #nextAlertMs: number;
  #nextMarkerMs: number;

  constructor(options: IslandOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
    this.#units = Array.from({ length: options.units }, (_, index) => this.#unit(index));
    const never = Number.POSITIVE_INFINITY;
    this.#nextChatMs = this.#soon(options.chatEveryMs ?? never);
    this.#nextAlertMs = this.#soon(options.alertEveryMs ?? never);
    this.#nextMarkerMs = this.#soon(options.markerEveryMs ?? never);
  }

  get uids(): readonly string[] {
    return this.#units.map(({ device }) => device.uid);
  }

  /** All that is said from now on, in order of time, without end. */
  *events(): Generator<Spoken, never> {
    for (;;) {
      const unit = this.#units.reduce((first, next) => (next.nextMs < first.nextMs ? next : first));
      const atMs = Math.min(unit.nextMs, this.#nextChatMs, this.#nextAlertMs, this.#nextMarkerMs);
      if (atMs === this.#nextChatMs) yield this.#chat(atMs);
      else if (atMs === this.#nextAlertMs) yield this.#alert(atMs);
      else if (atMs === this.#nextMarkerMs) yield this.#marker(atMs);
      else yield this.#report(unit, atMs);
    }
  }

  // --- devices -------------------------------------------------------------------------------------------------------

  #unit(index: number): Unit {
    const paces = ['still', 'walks', 'walks', 'drives'] as const;
    const device = this.#device(index);
    return {
      device,
      pace: paces[index % paces.length]!,
      lat: 48.1 + this.#random() * 0.3,
      lon: 24.4 + this.#random() * 0.4,
      hae: 180 + this.#random() * 400,
      course: this.#random() * 360,
      speed: 0,
      battery: 40 + Math.floor(this.#random() * 60),
      nextMs: this.#random() * 20_000,
    };
  }

  #device(index: number): Device {
    const hex = (digits: number) =>
      Array.from({ length: digits }, () => Math.floor(this.#random() * 16).toString(16)).join('');
    const callsign = `${this.#pick(WORDS)}-${10 + index}`;
    const [team, role] = [this.#pick(TEAMS), this.#pick(ROLES)];
    const common = { callsign, team, role, isLong: index % 5 === 2 };
    if (index % 10 === 7) {
      const takv =
        '<takv version="5.0.0.159" platform="WinTAK-CIV" os="Microsoft Windows 11 Pro" device="LENOVO 20XW" />';
      return {
        ...common,
        dialect: 'wintak',
        uid: `S-1-5-21-${1e9 + Math.floor(this.#random() * 1e9)}-${hex(8)}`,
        takv,
        type: 'a-f-G-U-C-I',
      };
    }
    if (index % 10 === 9) {
      const uid = [8, 4, 4, 4, 12].map((digits) => hex(digits).toUpperCase()).join('-');
      const takv = `<takv device='iPhone' platform='iTAK' os='17.${index % 7}.1' version='2.12.0.826'/>`;
      return { ...common, dialect: 'itak', uid, takv, type: 'a-f-G-E-V-C' };
    }
    const [model, os] = PHONES[index % PHONES.length]!.split('|');
    const takv = `<takv os="${os}" version="${this.#pick(ATAK_VERSIONS)}" device="${model}" platform="ATAK-CIV"/>`;
    return { ...common, dialect: 'atak', uid: `ANDROID-${hex(16)}`, takv, type: 'a-f-G-U-C' };
  }

  // --- what they say -------------------------------------------------------------------------------------------------

  #report(unit: Unit, atMs: number): Spoken {
    const everyMs = this.#move(unit) / (this.#options.haste ?? 1);
    unit.nextMs = atMs + everyMs * (0.9 + 0.2 * this.#random());
    return {
      atMs,
      kind: 'position',
      uid: unit.device.uid,
      xml: Buffer.from(this.#position(unit, atMs, 2 * everyMs + 15_000)),
    };
  }

  /** Moves on. Returns how long until its next report, milliseconds: ATAK's dynamic strategy towards a server. */
  #move(unit: Unit): number {
    unit.battery = Math.max(1, unit.battery - (this.#random() < 0.02 ? 1 : 0));
    if (unit.pace === 'still') {
      unit.speed = 0;
      unit.lat += (this.#random() - 0.5) * 1e-5;
      unit.lon += (this.#random() - 0.5) * 1e-5;
      unit.hae += this.#random() - 0.5;
      return 60_000;
    }
    const everyMs = unit.pace === 'walks' ? 20_000 : 5_000;
    unit.speed = unit.pace === 'walks' ? 0.8 + this.#random() : 9 + 6 * this.#random();
    unit.course = (unit.course + (this.#random() - 0.5) * 40 + 360) % 360;
    const metres = (unit.speed * everyMs) / 1000;
    const angle = (unit.course * Math.PI) / 180;
    unit.lat += (metres * Math.cos(angle)) / 111_320;
    unit.lon += (metres * Math.sin(angle)) / (111_320 * Math.cos((unit.lat * Math.PI) / 180));
    unit.hae += (this.#random() - 0.5) * 4;
    return everyMs;
  }

  #position({ device, lat, lon, hae, course, speed, battery }: Unit, atMs: number, lifeMs: number): string {
    const { dialect, uid, callsign, takv, team, role, type, isLong } = device;
    const digits = (degrees: number) => (isLong ? String(degrees) : String(Number(degrees.toFixed(7))));
    // Android gives these as 32-bit floats, and they are printed as doubles.
    const float = (n: number) => java(Math.fround(n));
    const ce = float(3 + this.#random() * 8);
    if (dialect === 'wintak') {
      const stale = this.#second(atMs + lifeMs);
      return (
        `<?xml version="1.0" encoding="utf-8" standalone="yes"?>\r\n<event version="2.0" uid="${uid}" type="${type}" time="${this.#second(atMs)}"` +
        ` start="${this.#second(atMs)}" stale="${stale}" how="m-g">\r\n  <point lat="${digits(lat)}" lon="${digits(lon)}" hae="${hae.toFixed(3)}" ce="${ce}" le="9999999" />\r\n` +
        `  <detail>\r\n    ${takv}\r\n    <contact callsign="${callsign}" endpoint="*:-1:stcp" />\r\n    <uid Droid="${callsign}" />\r\n` +
        `    <__group name="${team}" role="${role}" />\r\n    <status battery="${battery}" />\r\n    <track course="${course.toFixed(2)}" speed="${speed.toFixed(2)}" />\r\n  </detail>\r\n</event>`
      );
    }
    const times = (quote: string) =>
      `time=${quote}${this.#iso(atMs)}${quote} start=${quote}${this.#iso(atMs)}${quote} stale=${quote}${this.#iso(atMs + lifeMs)}${quote}`;
    if (dialect === 'itak') {
      return (
        `<?xml version='1.0' encoding='UTF-8' standalone='yes'?><event version='2.0' uid='${uid}' type='${type}' how='m-g' ${times("'")}>` +
        `<point lat='${digits(lat)}' lon='${digits(lon)}' hae='${hae}' ce='${ce}' le='3.0'/><detail><contact callsign='${callsign}' phone='' endpoint='*:-1:stcp'/>` +
        `<uid Droid='${callsign}'/><__group name='${team}' role='${role}'/><precisionlocation geopointsrc='GPS' altsrc='GPS'/>${takv}` +
        `<status battery='${battery}'/><track speed='${speed}' course='${course}'/></detail></event>`
      );
    }
    return (
      `<event version="2.0" uid="${uid}" type="${type}" ${times('"')} how="m-g" access="Undefined"><point lat="${digits(lat)}" lon="${digits(lon)}"` +
      ` hae="${java(Number(hae.toFixed(3)))}" ce="${ce}" le="9999999.0"/><detail>${takv}<contact endpoint="*:-1:stcp" callsign="${callsign}"/><uid Droid="${callsign}"/>` +
      `<precisionlocation altsrc="GPS" geopointsrc="GPS"/><__group role="${role}" name="${team}"/><status battery="${battery}"/>` +
      `<track course="${float(course)}" speed="${float(speed)}"/></detail></event>`
    );
  }

  #chat(atMs: number): Spoken {
    this.#nextChatMs = this.#soon(this.#options.chatEveryMs!, atMs);
    const { device } = this.#pick(this.#units);
    const messageId = this.#uuid();
    const uid = `GeoChat.${device.uid}.All Chat Rooms.${messageId}`;
    const text = `${this.#pick(SAYINGS)}, ${this.#pick(SAYINGS)}`;
    const xml =
      `<event version="2.0" uid="${uid}" type="b-t-f" ${this.#life(atMs, 86_400_000)} how="h-g-i-g-o" access="Undefined"><point lat="48.1" lon="24.5" hae="9999999.0" ce="9999999.0" le="9999999.0"/>` +
      `<detail><__chat parent="RootContactGroup" groupOwner="false" messageId="${messageId}" chatroom="All Chat Rooms" id="All Chat Rooms" senderCallsign="${device.callsign}">` +
      `<chatgrp uid0="${device.uid}" uid1="All Chat Rooms" id="All Chat Rooms"/></__chat><link uid="${device.uid}" type="a-f-G-U-C" relation="p-p"/>` +
      `<__serverdestination destinations="192.0.2.7:4242:tcp:${device.uid}"/><remarks source="BAO.F.ATAK.${device.uid}" to="All Chat Rooms" time="${this.#iso(atMs)}">${text}</remarks></detail></event>`;
    return { atMs, kind: 'chat', uid, xml: Buffer.from(xml) };
  }

  #alert(atMs: number): Spoken {
    this.#nextAlertMs = this.#soon(this.#options.alertEveryMs!, atMs);
    const { device, lat, lon, hae } = this.#pick(this.#units);
    const uid = `${device.uid}-9-1-1`;
    const xml =
      `<event version="2.0" uid="${uid}" type="b-a-o-tbl" ${this.#life(atMs, 10_000)} how="m-g" access="Undefined"><point lat="${Number(lat.toFixed(7))}" lon="${Number(lon.toFixed(7))}"` +
      ` hae="${java(Number(hae.toFixed(3)))}" ce="9.9" le="9999999.0"/><detail><link uid="${device.uid}" type="a-f-G-U-C" relation="p-p"/>` +
      `<contact callsign="${device.callsign}-Alert"/><emergency type="911 Alert">${device.callsign}</emergency></detail></event>`;
    return { atMs, kind: 'alert', uid, xml: Buffer.from(xml) };
  }

  #marker(atMs: number): Spoken {
    this.#nextMarkerMs = this.#soon(this.#options.markerEveryMs!, atMs);
    const { device, lat, lon } = this.#pick(this.#units);
    const uid = this.#uuid();
    const xml =
      `<event version="2.0" uid="${uid}" type="a-h-G" ${this.#life(atMs, 300_000)} how="h-g-i-g-o" access="Undefined"><point lat="${lat}" lon="${lon}" hae="9999999.0" ce="9999999.0" le="9999999.0"/>` +
      `<detail><status readiness="true"/><archive/><link uid="${device.uid}" production_time="${this.#iso(atMs)}" type="a-f-G-U-C" parent_callsign="${device.callsign}" relation="p-p"/>` +
      `<contact callsign="R ${Math.floor(this.#random() * 1e6)}"/><remarks>${this.#pick(SAYINGS)}</remarks><color argb="-1"/><precisionlocation altsrc="???"/></detail></event>`;
    return { atMs, kind: 'marker', uid, xml: Buffer.from(xml) };
  }

  // --- dice and clocks -----------------------------------------------------------------------------------------------

  /** Exponentially distributed around `everyMs`. */
  #soon(everyMs: number, afterMs = 0): number {
    return afterMs - Math.log(1 - this.#random()) * everyMs;
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!;
  }

  #uuid(): string {
    const hex = (digits: number) =>
      Array.from({ length: digits }, () => Math.floor(this.#random() * 16).toString(16)).join('');
    return [8, 4, 4, 4, 12].map(hex).join('-');
  }

  #iso(atMs: number): string {
    return new Date(this.#options.wallMs + Math.floor(atMs)).toISOString();
  }

  #second(atMs: number): string {
    return this.#iso(atMs).replace(/\.\d+/, '');
  }

  #life(atMs: number, lifeMs: number): string {
    return `time="${this.#iso(atMs)}" start="${this.#iso(atMs)}" stale="${this.#iso(atMs + lifeMs)}"`;
  }
}

/** As Java prints a double: a decimal at least. */
function java(n: number): string {
  return Number.isInteger(n) ? `${n}.0` : String(n);
}
