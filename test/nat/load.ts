// A numbered load from one phone to another, and the books about it: what was sent, what came, how often.
import type { Phone } from '../support/cot-client.ts';
import { sleep } from './lab.ts';

/** Those that promise delivery, and positions, of which the newest counts. */
export const KINDS = ['alert', 'chat', 'marker', 'position'] as const;
export type Kind = (typeof KINDS)[number];

/** Pause between two events; the kinds take turns. */
const PACE_MS = 60;
const MARK = /LOAD-([a-z]+)-([a-z]+)-(\d{6})/;
const HOUR_MS = 3_600_000;

export class Load {
  /** Told from the load of the other direction. */
  readonly way: string;
  /** Word for word. */
  readonly #said = new Set<string>();
  readonly sent: Readonly<Record<Kind, number[]>> = { alert: [], chat: [], marker: [], position: [] };
  readonly #from: Phone;
  readonly #to: Phone;
  readonly #callsigns: readonly [from: string, to: string];
  #running: Promise<void> | undefined;
  #stop = false;
  #count = 0;

  constructor(way: string, from: Phone, to: Phone, callsigns: readonly [string, string]) {
    this.way = way;
    this.#from = from;
    this.#to = to;
    this.#callsigns = callsigns;
  }

  begin(): void {
    this.#stop = false;
    this.#running = this.#run();
  }

  async pause(): Promise<void> {
    this.#stop = true;
    await this.#running;
  }

  /** How often each number of a kind came, at that phone or another. */
  received(kind: Kind, phone = this.#to): Map<number, number> {
    const times = new Map<number, number>();
    for (const event of phone.events) {
      const [, way, found, number] = MARK.exec(event) ?? [];
      if (way === this.way && found === kind) times.set(Number(number), (times.get(Number(number)) ?? 0) + 1);
    }
    return times;
  }

  missing(kind: Kind, phone = this.#to): number[] {
    const received = this.received(kind, phone);
    return this.sent[kind].filter((number) => !received.has(number));
  }

  twice(kind: Kind, phone = this.#to): number[] {
    return [...this.received(kind, phone)].filter(([, times]) => times > 1).map(([number]) => number);
  }

  /** What came and is not, word for word, what was sent. */
  altered(phone = this.#to): string[] {
    return phone.events.filter((event) => MARK.exec(event)?.[1] === this.way && !this.#said.has(event));
  }

  /** Everything that promises delivery is there, and the last position. */
  isThrough(phone = this.#to): boolean {
    if (KINDS.some((kind) => kind !== 'position' && this.missing(kind, phone).length > 0)) return false;
    return this.received('position', phone).has(this.sent.position.at(-1)!);
  }

  async #run(): Promise<void> {
    while (!this.#stop) {
      const kind = KINDS[this.#count % KINDS.length]!;
      const number = this.#count++;
      this.sent[kind].push(number);
      const event = this.#event(kind, number);
      this.#said.add(event);
      this.#from.send(event);
      await sleep(PACE_MS);
    }
  }

  #event(kind: Kind, number: number): string {
    const mark = `LOAD-${this.way}-${kind}-${String(number).padStart(6, '0')}`;
    const [from, to] = this.#callsigns;
    const contact = `<contact callsign="${from}" endpoint="*:-1:stcp"/>`;
    switch (kind) {
      case 'alert':
        return xml(
          mark,
          'b-a-o-tbl',
          'm-g',
          number,
          `<contact callsign="${from}"/><emergency type="911 Alert">${from}</emergency>`,
        );
      case 'marker':
        return xml(mark, 'a-h-G', 'h-g-i-g-o', number, `<contact callsign="${mark}"/>`);
      case 'position':
        return xml(
          `ANDROID-${this.way}`,
          'a-f-G-U-C',
          'm-g',
          number,
          `${contact}<__group name="Cyan" role="HQ"/><remarks>${mark}</remarks>`,
        );
      case 'chat': {
        const chat = `<__chat senderCallsign="${from}" chatroom="${to}" groupOwner="false" messageId="${mark}"/>`;
        return xml(
          mark,
          'b-t-f',
          'h-g-i-g-o',
          number,
          `${chat}<remarks>${mark}</remarks><marti><dest callsign="${to}"/></marti>`,
        );
      }
    }
  }
}

function xml(uid: string, type: string, how: string, number: number, detail: string): string {
  const [time, stale] = [0, HOUR_MS].map((laterMs) => new Date(Date.now() + laterMs).toISOString());
  const point = `<point lat="${(48 + number / 100_000).toFixed(5)}" lon="24.5" hae="200.0" ce="10.0" le="9999999.0"/>`;
  return (
    `<event version="2.0" uid="${uid}" type="${type}" how="${how}" time="${time}" start="${time}" stale="${stale}">` +
    `${point}<detail>${detail}</detail></event>`
  );
}
