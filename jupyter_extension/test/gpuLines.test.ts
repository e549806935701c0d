import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { parseFrame } from '../src/frames';
import { GPU_LINES } from '../src/gpuLines';

const GIB = 2 ** 30;

function migOf(mig: unknown): string | undefined {
  const gpu = { index: 0, status: 'ok', error: null, name: 'H200', mig };
  const frame = {
    version: 1,
    kind: 'sample',
    time: 1,
    my_gpus: null,
    gpus: { status: 'ok', error: null, data: [gpu] },
    host: { status: 'unavailable', error: 'x', data: null }
  };
  const read = parseFrame(JSON.stringify(frame));
  assert.equal(read.kind, 'sample');
  const [parsed] = (read as Extract<typeof read, { kind: 'sample' }>).sample.gpus.data ?? [];
  const owners = new Map([[7, { command: 'python3', notebook: '07_accelerate.ipynb' }]]);
  return parsed && GPU_LINES.find(line => line.field === 'mig')?.text({ ...parsed, owners });
}

test('the instances of a divided GPU stand in one line, with whose programs run in each', () => {
  const one = {
    name: '1g.18gb',
    memory_used_bytes: 9 * GIB,
    memory_total_bytes: 18 * GIB,
    sm_percent: 40,
    processes: [{ pid: 7, memory_bytes: GIB }]
  };
  const other = { ...one, name: null, memory_used_bytes: null, sm_percent: null, processes: [] };
  assert.equal(
    migOf([one, other]),
    '1g.18gb: 9.0 GiB of 18.0 GiB, SMs 40 %, programs: 07_accelerate.ipynb: 1.0 GiB; ' +
      'an instance: memory unknown, SMs not reported, programs: none'
  );
});

test('a whole GPU says so, also in recordings of before', () => {
  assert.equal(migOf(null), 'not divided');
  assert.equal(migOf(undefined), 'not divided');
});
