import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { gapText, partsOf, plannedBytes } from '../src/plan';

const GIB = 1024 ** 3;
const TERMS = [
  { kind: 'weights', bytes: 10 * GIB },
  { kind: 'kv_cache', bytes: 2 * GIB },
  { kind: 'activations', bytes: 3 * GIB },
  { kind: 'reserve', bytes: 0 },
  { kind: 'process', bytes: GIB }
];

test('memory fills in the order in which a run takes it', () => {
  assert.equal(plannedBytes(TERMS), 16 * GIB);
  assert.deepEqual(
    partsOf(TERMS, 11.5 * GIB).map(part => [part.kind, part.thereBytes / GIB]),
    [
      ['process', 1],
      ['weights', 10],
      ['kv_cache', 0.5],
      ['activations', 0]
    ]
  );
});

test('the gap is told term by term', () => {
  assert.equal(
    gapText(TERMS, 11.5 * GIB),
    '4.5 GiB not in use yet: KV cache 1.5 GiB, working memory 3.0 GiB.'
  );
});

test('use as planned, beyond the plan, and unknown', () => {
  assert.equal(gapText(TERMS, 16 * GIB - 1000), 'In use as planned.');
  assert.match(gapText(TERMS, 18 * GIB), /^2\.0 GiB more than planned/);
  assert.match(gapText(TERMS, null), /does not say/);
  assert.deepEqual(
    partsOf(TERMS, null).map(part => part.thereBytes),
    [0, 0, 0, 0]
  );
});
