import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { minutesOf } from '../src/minutes';

test('a minute has the mean of the area and the highest of the line, the newest first', () => {
  const data = { times: [60, 90, 119, 120], busy: [10, 20, null, 80], memory: [1, 7, 3, null] };
  assert.deepEqual(minutesOf(data), [
    { time: 120, busyMean: 80, memoryPeak: null },
    { time: 60, busyMean: 15, memoryPeak: 7 }
  ]);
});

test('no data, no rows', () => {
  assert.deepEqual(minutesOf({ times: [], busy: [], memory: [] }), []);
});

test('the minutes of a recording are counted from its beginning', () => {
  const data = { times: [30, 89, 90, 100], busy: [0, 100, 50, 50], memory: [1, 2, 3, null] };
  assert.deepEqual(minutesOf(data, 30), [
    { time: 90, busyMean: 50, memoryPeak: 3 },
    { time: 30, busyMean: 50, memoryPeak: 2 }
  ]);
});
