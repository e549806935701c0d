import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { parseFrame } from '../src/frames';
import { modelsOf, parseNodes } from '../src/nodes';
import { statusText } from '../src/statusText';

const GPU = {
  index: 1,
  name: 'NVIDIA H200',
  status: 'ok',
  error: null,
  utilization_percent: 37,
  memory_used_bytes: 5,
  memory_total_bytes: 10,
  mine: false,
  history: [30, null, 40]
};
const HOST = { cpu_percent: 12.5, cpu_limit_cores: 8, memory_used_bytes: 3, memory_limit_bytes: 16 };
const READING = { time: 1, gpus: [GPU], gpus_error: null, host: HOST, host_error: null };

function node(reading: unknown, status = 'ok', error: string | null = null): unknown {
  return { job: '7', updated_at: 1, ended: null, nodes: [{ name: 'nb', status, error, reading }] };
}

test('a node is read with its GPUs and its host', () => {
  const [found] = parseNodes(node(READING))?.nodes ?? [];
  assert.deepEqual([found?.name, found?.isLive, found?.sentences], ['nb', true, []]);
  const [gpu] = found?.gpus ?? [];
  assert.deepEqual([gpu?.index, gpu?.utilizationPercent, gpu?.meanPercent], [1, 37, 35]);
  assert.deepEqual([gpu?.mine, gpu?.fault, gpu?.memoryUsedBytes], [false, null, 5]);
  assert.deepEqual([found?.host?.cpuPercent, found?.host?.memoryLimitBytes], [12.5, 16]);
});

test('what is old, lost or missing says so', () => {
  const [stale] = parseNodes(node(READING, 'stale', 'No figures.'))?.nodes ?? [];
  assert.deepEqual([stale?.isLive, stale?.sentences], [false, ['No figures.']]);
  const [starting] = parseNodes(node(null, 'starting', 'It starts.'))?.nodes ?? [];
  assert.deepEqual([starting?.gpus, starting?.host], [[], null]);
  const bare = { ...READING, gpus: [], gpus_error: 'No driver.', host: null, host_error: 'No psutil.' };
  assert.deepEqual(parseNodes(node(bare))?.nodes[0]?.sentences, ['No driver.', 'No psutil.']);
  const lost = {
    ...READING,
    gpus: [{ ...GPU, status: 'lost', error: 'Off the bus.', mine: null, history: [1] }]
  };
  const [gpu] = parseNodes(node(lost))?.nodes[0]?.gpus ?? [];
  assert.deepEqual([gpu?.fault, gpu?.mine, gpu?.meanPercent], ['Off the bus.', null, null]);
});

test('nothing, and what is nothing that this panel knows, is no node', () => {
  for (const value of [null, undefined, 5, [], {}, { nodes: 'nb' }]) {
    assert.equal(parseNodes(value), null);
  }
  assert.deepEqual(parseNodes({ nodes: [1, null], ended: 'Stopped.' }), { ended: 'Stopped.', nodes: [] });
});

test('models are counted', () => {
  const gpus = parseNodes(node({ ...READING, gpus: [GPU, GPU, { ...GPU, name: null }] }))?.nodes[0]?.gpus;
  assert.equal(modelsOf(gpus ?? []), '2 × NVIDIA H200, 1 × GPU');
});

test('a sample says which GPUs are in this job, and the status bar counts those', () => {
  const gpu = {
    index: 0,
    status: 'ok',
    utilization_percent: 90,
    memory_used_bytes: 1,
    memory_total_bytes: 2
  };
  const gpus = { status: 'ok', error: null, data: [gpu, { ...gpu, index: 1, utilization_percent: 10 }] };
  const host = { status: 'unavailable', error: 'None.', data: null };
  const read = (held: object): [boolean[], string] => {
    const frame = parseFrame(JSON.stringify({ version: 1, kind: 'sample', time: 1, gpus, host, ...held }));
    assert.equal(frame.kind, 'sample');
    const { sample } = frame as Extract<typeof frame, { kind: 'sample' }>;
    return [sample.gpus.data?.map(each => each.mine) ?? [], statusText(sample, true, []).text.slice(0, 12)];
  };
  assert.deepEqual(read({ my_gpus: [1] }), [[false, true], 'GPU 10 % · 0']);
  assert.deepEqual(read({ my_gpus: [] }), [[false, false], 'GPU: none']);
  // A recording of an older panel, and a machine on which nothing says whose they are.
  assert.deepEqual(read({}), [[true, true], 'GPU 2 × 50 %']);
  assert.deepEqual(read({ my_gpus: null }), [[true, true], 'GPU 2 × 50 %']);
});

test('a frame of nodes is known, and is read late', () => {
  const text = JSON.stringify({ version: 1, kind: 'nodes', nodes: { nodes: [] } });
  assert.deepEqual(parseFrame(text), { kind: 'nodes', nodes: { nodes: [] } });
});
