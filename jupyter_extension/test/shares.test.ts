import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { sharesOf } from '../src/shares';

const OWNERS = new Map([
  [1, { command: 'python3', notebook: 'a.ipynb' }],
  [2, { command: 'python3', notebook: 'a.ipynb' }],
  [3, { command: 'vllm', notebook: null }],
  [4, { command: null, notebook: null }]
]);

test('programs of one notebook count together, the largest first', () => {
  const processes = [4, 3, 2, 1].map(pid => ({ pid, memoryBytes: 10 * pid }));
  assert.deepEqual(sharesOf(processes, OWNERS), [
    { name: 'unknown (4)', memoryBytes: 40 },
    { name: 'vllm (3)', memoryBytes: 30 },
    { name: 'a.ipynb', memoryBytes: 30 }
  ]);
});

test('a hidden memory makes its owner unknown, and nobody else', () => {
  const processes = [
    { pid: 1, memoryBytes: null },
    { pid: 2, memoryBytes: 5 },
    { pid: 9, memoryBytes: 7 }
  ];
  assert.deepEqual(sharesOf(processes, OWNERS), [
    { name: 'unknown (9)', memoryBytes: 7 },
    { name: 'a.ipynb', memoryBytes: null }
  ]);
});
