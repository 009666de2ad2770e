// Areas on the map that rules speak of: boxes, circles, polygons. Anywhere on the globe, over the date line too.
import { metresBetween, type Place } from '../lib/geo.ts';

/** Degrees. A box whose west is east of its east lies over the date line; a polygon takes the shorter way between corners. */
export type Area =
  | { readonly box: { readonly south: number; readonly west: number; readonly north: number; readonly east: number } }
  | { readonly circle: { readonly lat: number; readonly lon: number; readonly metres: number } }
  | { readonly polygon: readonly Place[] };

/** Made once per rule, asked for every message. */
export function inside(area: Area): (place: Place) => boolean {
  if ('box' in area) return insideBox(area.box);
  return 'circle' in area ? insideCircle(area.circle) : insidePolygon(area.polygon);
}

function insideBox({ south, west, north, east }: Extract<Area, { box: unknown }>['box']) {
  const over = west > east;
  return ({ lat, lon }: Place): boolean => {
    if (lat < south || lat > north) return false;
    return over ? lon >= west || lon <= east : lon >= west && lon <= east;
  };
}

function insideCircle({ lat, lon, metres }: Extract<Area, { circle: unknown }>['circle']) {
  const centre = { lat, lon };
  return (place: Place): boolean => metresBetween(centre, place) <= metres;
}

/** Counts the sides that a line from the place to the north crosses: an odd number, and it is inside. */
function insidePolygon(corners: readonly Place[]) {
  // Longitudes that follow each other without a jump at the date line.
  const lons: number[] = [];
  for (const { lon } of corners) lons.push(lons.length === 0 ? lon : lons.at(-1)! + turn(lon - lons.at(-1)!));
  const lats = corners.map(({ lat }) => lat);
  const west = Math.min(...lons);
  const [south, north, east] = [Math.min(...lats), Math.max(...lats), Math.max(...lons)];
  return ({ lat, lon }: Place): boolean => {
    if (lat < south || lat > north) return false;
    const x = west + ((((lon - west) % 360) + 360) % 360);
    if (x > east) return false;
    let crossed = false;
    for (let at = 0, before = lats.length - 1; at < lats.length; before = at++) {
      const [a, b] = [lons[at]!, lons[before]!];
      if (a > x === b > x) continue;
      if (lat < lats[at]! + ((lats[before]! - lats[at]!) * (x - a)) / (b - a)) crossed = !crossed;
    }
    return crossed;
  };
}

/** The shorter way round, -180 to 180. */
function turn(degrees: number): number {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}
