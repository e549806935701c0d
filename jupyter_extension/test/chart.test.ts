import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { splitsOf } from '../src/chart';

test('labels stand at whole steps from the origin', () => {
  assert.deepEqual(splitsOf(100, 240, 60, 0), [120, 180, 240]);
  assert.deepEqual(splitsOf(110, 240, 60, 110), [110, 170, 230]);
  assert.deepEqual(splitsOf(121, 179, 60, 0), []);
});

test('a window of absurd times has an end of labels', () => {
  assert.equal(splitsOf(1e300, 2e300, 60, 0).length, 99);
  assert.equal(splitsOf(1e24, 1e24 + 1e12, 60, 5).length, 99);
  assert.deepEqual(splitsOf(0, Infinity, 0, 0), []);
});
