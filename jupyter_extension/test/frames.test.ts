import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { FrameError, parseFrame } from '../src/frames';

const GPU = {
  index: 1,
  uuid: 'GPU-b',
  name: 'NVIDIA H200',
  status: 'ok',
  error: null,
  utilization_percent: null,
  memory_used_bytes: 1,
  memory_total_bytes: 2,
  not_reported: { utilization_percent: 'Not Supported' }
};

function sample(
  gpus: unknown,
  host: unknown = { status: 'unavailable', error: 'No psutil.', data: null }
): string {
  return JSON.stringify({ version: 1, kind: 'sample', time: 10, gpus, host });
}

function parseSample(text: string) {
  const frame = parseFrame(text);
  assert.equal(frame.kind, 'sample');
  return (frame as Extract<typeof frame, { kind: 'sample' }>).sample;
}

test('a field that is not reported is null with its reason', () => {
  const gpu = parseSample(sample({ status: 'ok', error: null, data: [GPU] })).gpus.data?.[0];
  assert.equal(gpu?.utilizationPercent, null);
  assert.equal(gpu?.notReported.utilization_percent, 'Not Supported');
  assert.equal(gpu?.memoryTotalBytes, 2);
  assert.equal(gpu?.fault, null);
});

test('what else the driver says is read, and what is missing is null', () => {
  const rich = {
    ...GPU,
    sm_percent: 40,
    throttle_reasons: ['power limit'],
    nvlink_tx_bytes_per_s: 5e10,
    processes: [
      { pid: 7, memory_bytes: 5 },
      { pid: 8, memory_bytes: null }
    ]
  };
  const gpu = parseSample(sample({ status: 'ok', error: null, data: [rich] })).gpus.data?.[0];
  assert.deepEqual([gpu?.smPercent, gpu?.throttleReasons, gpu?.nvlinkOut], [40, ['power limit'], 5e10]);
  assert.deepEqual(gpu?.processes, [
    { pid: 7, memoryBytes: 5 },
    { pid: 8, memoryBytes: null }
  ]);
  assert.deepEqual([gpu?.powerWatts, gpu?.pcieIn], [null, null]);
  const old = parseSample(sample({ status: 'ok', error: null, data: [GPU] })).gpus.data?.[0];
  assert.deepEqual([old?.throttleReasons, old?.processes], [null, null]);
});

test('a lost GPU keeps its identity and says why', () => {
  const lost = { ...GPU, status: 'lost', error: 'It fell off the bus.' };
  const gpu = parseSample(sample({ status: 'ok', error: null, data: [lost] })).gpus.data?.[0];
  assert.equal(gpu?.fault, 'Lost. It fell off the bus.');
  assert.deepEqual([gpu?.index, gpu?.name], [1, 'NVIDIA H200']);
});

test('one provider that fails hides no other', () => {
  const read = parseSample(sample({ status: 'unavailable', error: 'No driver.', data: null }));
  assert.deepEqual(read.gpus, { data: null, error: 'No driver.' });
  assert.deepEqual(read.host, { data: null, error: 'No psutil.' });
});

test('hello and history are read', () => {
  const hello = parseFrame('{"version":1,"kind":"hello","hz":2,"history_seconds":60,"note":"Slower."}');
  assert.deepEqual(hello, { kind: 'hello', hz: 2, historySeconds: 60, note: 'Slower.', machine: undefined });
  const one = sample({ status: 'ok', error: null, data: [GPU] });
  const history = parseFrame(`{"version":1,"kind":"history","samples":[${one},${one}]}`);
  assert.equal(history.kind === 'history' && history.samples.length, 2);
});

test('owners are read by process number', () => {
  const frame = parseFrame(
    '{"version":1,"kind":"owners","owners":[{"pid":7,"command":"python3","notebook":"a.ipynb"},{"pid":8}]}'
  );
  assert.equal(frame.kind, 'owners');
  const owners = (frame as Extract<typeof frame, { kind: 'owners' }>).owners;
  assert.deepEqual(owners.get(7), { command: 'python3', notebook: 'a.ipynb' });
  assert.deepEqual(owners.get(8), { command: null, notebook: null });
});

test('a kind that a newer server added is no error', () => {
  assert.deepEqual(parseFrame('{"version":1,"kind":"marks"}'), { kind: 'unknown' });
});

for (const [what, text, words] of [
  ['no JSON', 'oops', /not JSON/],
  ['no object', '[]', /envelope is not an object/],
  ['another version', '{"version":2,"kind":"sample"}', /version 2 .* panel 1: reload/],
  ['no time', '{"version":1,"kind":"sample"}', /without a time/],
  ['GPUs that are no list', sample({ status: 'ok', data: 3 }), /not a list/]
] as const) {
  test(`a frame with ${what} becomes one sentence`, () => {
    assert.throws(
      () => parseFrame(text),
      (error: unknown) => error instanceof FrameError && words.test(error.message)
    );
  });
}

test('warnings are read, whatever else a newer server says of them', () => {
  const warnings = [{ kind: 'idle_gpu', gpu: 1, since: 5, text: 'GPU 1 idle.', more: 1 }, null];
  const frame = parseFrame(JSON.stringify({ version: 1, kind: 'warnings', warnings }));
  assert.deepEqual(frame, {
    kind: 'warnings',
    warnings: [{ kind: 'idle_gpu', gpu: 1, text: 'GPU 1 idle.' }]
  });
});
