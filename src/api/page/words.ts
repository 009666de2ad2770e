// Numbers and states as words for people.

/** "12 s", "3 min", "5 h", "2 d": the same the script in the page writes (page.js). */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** To the minute, of an ISO-8601 time: "2026-11-29 12:00". */
export function minuteOf(iso: string): string {
  return iso.slice(0, 16).replace('T', ' ');
}

export function bytes(count: number): string {
  return scaled(count, 'B');
}

/** Of a line: "2.4 kbit/s". */
export function bits(perSecond: number): string {
  return scaled(perSecond, 'bit/s');
}

function scaled(count: number, unit: string): string {
  if (count < 1000) return `${count} ${unit}`;
  const units = ['k', 'M', 'G', 'T'];
  let value = count / 1000;
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}${unit}`;
}

/** Per second: "0", "0.3", "12". */
export function rate(perSecond: number): string {
  if (perSecond === 0) return '0';
  if (perSecond < 0.1) return '<0.1';
  return perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond));
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

export function distance(metres: number): string {
  if (metres < 1000) return `${Math.round(metres)} m`;
  return `${metres < 10_000 ? (metres / 1000).toFixed(1) : Math.round(metres / 1000)} km`;
}
