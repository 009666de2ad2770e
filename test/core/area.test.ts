import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Area, inside } from '../../src/core/area.ts';

const is = (area: Area, lat: number, lon: number) => inside(area)({ lat, lon });
const corners = (...pairs: [number, number][]) => ({ polygon: pairs.map(([lat, lon]) => ({ lat, lon })) });

describe('areas', () => {
  test('a box, its edges included, and over the date line', () => {
    const box: Area = { box: { south: 48, west: 24, north: 49, east: 25 } };
    assert.equal(is(box, 48.5, 24.5), true);
    for (const [lat, lon] of [
      [48, 24],
      [49, 25],
    ] as const)
      assert.equal(is(box, lat, lon), true);
    for (const [lat, lon] of [
      [47.99, 24.5],
      [49.01, 24.5],
      [48.5, 23.99],
      [48.5, 25.01],
    ] as const) {
      assert.equal(is(box, lat, lon), false, `${lat} ${lon}`);
    }
    const pacific: Area = { box: { south: -10, west: 170, north: 10, east: -170 } };
    for (const lon of [170, 175, 180, -180, -175, -170]) assert.equal(is(pacific, 0, lon), true, String(lon));
    for (const lon of [169, -169, 0]) assert.equal(is(pacific, 0, lon), false, String(lon));
  });

  test('a circle, at the equator, in the north and over the date line', () => {
    for (const [lat, lon] of [
      [0, 0],
      [60, 24.5],
      [-45, 180],
      [10, -179.99],
    ] as const) {
      const circle: Area = { circle: { lat, lon, metres: 10_000 } };
      const east = (metres: number) => {
        const turned = lon + metres / (111_195 * Math.cos((lat * Math.PI) / 180));
        return turned > 180 ? turned - 360 : turned;
      };
      assert.equal(is(circle, lat, east(9_500)), true, `${lat} ${lon}`);
      assert.equal(is(circle, lat, east(10_500)), false, `${lat} ${lon}`);
      assert.equal(is(circle, lat + 9_500 / 111_195, lon), true);
      assert.equal(is(circle, lat + 10_500 / 111_195, lon), false);
    }
  });

  test('a polygon with a dent, whichever way it is drawn', () => {
    const points: [number, number][] = [
      [0, 0],
      [0, 10],
      [10, 10],
      [10, 0],
      [5, 5],
    ];
    for (const polygon of [corners(...points), corners(...points.toReversed())]) {
      assert.equal(is(polygon, 2, 5), true);
      assert.equal(is(polygon, 5, 8), true);
      assert.equal(is(polygon, 5, 2), false, 'in the dent');
      assert.equal(is(polygon, 11, 5), false);
      assert.equal(is(polygon, 5, 11), false);
      assert.equal(is(polygon, 5, -1), false);
    }
  });

  test('a polygon over the date line', () => {
    const polygon = corners([-5, 175], [-5, -175], [5, -175], [5, 175]);
    for (const lon of [176, 180, -180, -176]) assert.equal(is(polygon, 0, lon), true, String(lon));
    for (const lon of [174, -174, 0, 90]) assert.equal(is(polygon, 0, lon), false, String(lon));
  });

  test('a box and the same box as a polygon agree everywhere', () => {
    let state = 7;
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state / 2 ** 32;
    };
    for (let round = 0; round < 200; round++) {
      const [south, west] = [random() * 150 - 80, random() * 360 - 180];
      const [north, east_] = [south + 0.1 + random() * 9, west + 0.1 + random() * 20];
      const east = east_ > 180 ? east_ - 360 : east_;
      const box: Area = { box: { south, west, north, east } };
      const polygon = corners([south, west], [south, east], [north, east], [north, west]);
      for (let n = 0; n < 50; n++) {
        const [lat, lon] = [random() * 180 - 90, random() * 360 - 180];
        assert.equal(is(polygon, lat, lon), is(box, lat, lon), `${lat} ${lon} in ${JSON.stringify(box)}`);
      }
    }
  });
});
