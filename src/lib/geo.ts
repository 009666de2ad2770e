// Distance on the ground: good to a percent over the few hundred kilometres that matter here.

const METRES_PER_DEGREE = 111_195;
const RADIANS = Math.PI / 180;

export interface Place {
  /** Degrees. */
  readonly lat: number;
  readonly lon: number;
}

/** Metres between two places; over the date line too. */
export function metresBetween(a: Place, b: Place): number {
  const north = b.lat - a.lat;
  let east = Math.abs(b.lon - a.lon);
  if (east > 180) east = 360 - east;
  east *= Math.cos(((a.lat + b.lat) / 2) * RADIANS);
  return METRES_PER_DEGREE * Math.sqrt(north * north + east * east); // Math.hypot() takes ten times as long
}
