import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { LIVE, windowOf } from '../src/timeline';

test('the axis begins with two minutes, grows with the data and then rolls', () => {
  assert.deepEqual(windowOf(1000, 1000, LIVE, 600), [880, 1000]);
  assert.deepEqual(windowOf(1000, 1030, LIVE, 600), [910, 1030]);
  assert.deepEqual(windowOf(1000, 1300, LIVE, 600), [1000, 1300]);
  assert.deepEqual(windowOf(1000, 2000, LIVE, 600), [1400, 2000]);
});
