// Two boxes with one identity are told from one that reconnects or restarts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TWINS_MS } from '../../../src/links/portal/limits.ts';
import { Twins } from '../../../src/links/portal/twins.ts';

const box = (epoch: number) => ({ nodeId: `ws-${epoch}`, epoch, address: `10.0.0.${epoch}:1` });

test('two that replace each other: after three returns the one that is there stays', () => {
  const twins = new Twins();
  const comes = (epoch: number, atMs: number, present = true) => twins.rival(box(epoch), present, atMs)?.epoch;
  assert.equal(comes(1, 0, false), undefined);
  assert.equal(comes(2, 1_000), undefined, 'a box that restarted looks the same');
  assert.equal(comes(1, 2_000), undefined);
  assert.equal(comes(2, 3_000), undefined);
  assert.equal(comes(1, 4_000), 2, 'the third return');
  assert.equal(comes(2, 5_000), undefined, 'it may reconnect');
  assert.equal(comes(1, 60_000), 2, 'as long as the other keeps trying');
  assert.equal(comes(3, 61_000), 2, 'a third one is no better');
  assert.equal(comes(1, 62_000, false), undefined, 'when it is gone the other may come');
});

test('when the other gives up, the quarrel is forgotten', () => {
  const twins = new Twins();
  for (const [epoch, atMs] of [
    [1, 0],
    [2, 1_000],
    [1, 2_000],
    [2, 3_000],
  ] as const) {
    twins.rival(box(epoch), true, atMs);
  }
  assert.equal(twins.rival(box(1), true, 4_000)?.epoch, 2);
  assert.equal(twins.rival(box(1), true, 4_000 + 2 * TWINS_MS), undefined);
});

test('one box that reconnects or restarts over and over is none', () => {
  const twins = new Twins();
  for (let n = 0; n < 50; n++) assert.equal(twins.rival(box(7), true, n * 100), undefined);
  for (let n = 0; n < 50; n++) assert.equal(twins.rival(box(100 + n), true, n * 100), undefined);
});

test('returns that are far apart are not counted together', () => {
  const twins = new Twins();
  for (let n = 0; n < 20; n++) assert.equal(twins.rival(box(1 + (n % 2)), true, n * 31_000), undefined);
});
