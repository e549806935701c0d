import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { LIVE, pixelsApart, windowOf } from '../src/timeline';

test('the axis begins with two minutes, grows with the data and then rolls', () => {
  assert.deepEqual(windowOf(1000, 1000, LIVE, 600), [880, 1000]);
  assert.deepEqual(windowOf(1000, 1030, LIVE, 600), [910, 1030]);
  assert.deepEqual(windowOf(1000, 1300, LIVE, 600), [1000, 1300]);
  assert.deepEqual(windowOf(1000, 2000, LIVE, 600), [1400, 2000]);
});

test('a window that rolls on moves by its seconds, one that grows by what it gains', () => {
  // 600 seconds in 300 pixels: two seconds a pixel.
  assert.equal(pixelsApart([400, 1000], [401, 1001], 300), 0.5);
  assert.equal(pixelsApart([400, 1000], [402, 1002], 300), 1);
  assert.equal(pixelsApart([880, 1000], [880, 1001], 240), 2);
  // What was missing at its beginning has come, or a setting made it shorter.
  assert.equal(pixelsApart([880, 1000], [400, 1000], 240), 960);
  assert.equal(pixelsApart([1000, 1000], [880, 1000], 240), Infinity);
});
