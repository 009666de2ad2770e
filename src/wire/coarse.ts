// Positions with fewer digits, for the thinnest of links and only where the operator asks for it: to a metre, a degree of
// course, a tenth of a metre per second and a second. What stands for "not known" stays, and so does everything else.

const ATTRIBUTE = /\b(lat|lon|hae|ce|le|course|speed|time|start|stale)=(["'])([^"'<>]{1,40})\2/g;
const DIGITS: Readonly<Record<string, number>> = { lat: 5, lon: 5, hae: 0, ce: 0, le: 0, course: 0, speed: 1 };
/** CoT's "not known", and what is no number. */
const KEPT = /^9999999|[^\d.-]/;

/** One CoT event as XML, as latin1. */
export function coarseXml(text: string): string {
  return text.replace(ATTRIBUTE, (whole, name: string, quote: string, value: string) => {
    const digits = DIGITS[name];
    const coarse = digits === undefined ? coarseTime(value, name === 'stale') : coarseNumber(value, digits);
    return coarse === undefined ? whole : `${name}=${quote}${coarse}${quote}`;
  });
}

function coarseNumber(text: string, digits: number): string | undefined {
  const number = Number(text);
  if (KEPT.test(text) || !Number.isFinite(number)) return undefined;
  const coarse = number.toFixed(digits);
  return /^-0(\.0+)?$/.test(coarse) ? coarse.slice(1) : coarse;
}

/** Never stale earlier than it was. */
function coarseTime(text: string, isEnd: boolean): string | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z$/.test(text)) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return undefined;
  const seconds = isEnd ? Math.ceil(ms / 1000) : Math.floor(ms / 1000);
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
