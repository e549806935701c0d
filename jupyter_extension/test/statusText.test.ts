import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { showMemoryIn } from '../src/memory';
import { parseFrame, type ISample } from '../src/frames';
import { statusText } from '../src/statusText';

const GIB = 1024 ** 3;

function sample(gpus: object[], host: object = { cpu_percent: 37 }): ISample {
  const provided = (data: unknown): object => ({ status: 'ok', error: null, data });
  const frame = { version: 1, kind: 'sample', time: 1, gpus: provided(gpus), host: provided(host) };
  const parsed = parseFrame(JSON.stringify(frame));
  assert.equal(parsed.kind, 'sample');
  return (parsed as { sample: ISample }).sample;
}

function gpu(index: number, busy: number | null, gib: number, status = 'ok'): object {
  const memory = { memory_used_bytes: gib * GIB, memory_total_bytes: 80 * GIB };
  return { index, status, utilization_percent: busy, ...memory };
}

test('several GPUs: the mean of all, and the memory of the fullest', () => {
  const said = statusText(sample([gpu(0, 80, 61), gpu(1, 94, 10)]), true, []);
  assert.equal(said.text, 'GPU 2 × 87 % · 61.0 / 80.0 GiB');
  assert.equal(said.warnings, '');
  assert.match(said.label, /GPU 0: 80 %, 61.0 of 80.0 GiB\nGPU 1: 94 %/);
});

test('one GPU, one that is lost, one that does not report', () => {
  assert.equal(statusText(sample([gpu(0, 5, 1)]), true, []).text, 'GPU 5 % · 1.0 / 80.0 GiB');
  assert.equal(
    statusText(sample([gpu(0, 5, 1), gpu(1, 90, 70, 'lost')]), true, []).text,
    'GPU 5 % · 1.0 / 80.0 GiB'
  );
  assert.equal(statusText(sample([gpu(0, null, 1)]), true, []).text, '1 GPU · 1.0 / 80.0 GiB');
});

test('warnings are counted in words and told in full', () => {
  const said = statusText(sample([gpu(0, 5, 1)]), true, ['GPU 0 idle.']);
  assert.equal(said.warnings, '⚠ 1 warning');
  assert.match(said.label, /\nGPU 0 idle\.\nOpen the GPU monitor\.$/);
  assert.equal(statusText(sample([gpu(0, 5, 1)]), true, ['a', 'b']).warnings, '⚠ 2 warnings');
});

test('without a GPU, a sample or a server it says so', () => {
  const host = { cpu_percent: 37, memory_used_bytes: 12 * GIB, memory_limit_bytes: 16 * GIB };
  assert.equal(statusText(sample([], host), true, []).text, 'No GPU · CPU 37 % · 12.0 / 16.0 GiB');
  assert.equal(statusText(null, true, []).text, 'GPU: waiting');
  assert.equal(statusText(sample([gpu(0, 5, 1)]), false, []).text, 'GPU: disconnected');
});

test('memory is shown in the unit that the reader chose', () => {
  showMemoryIn('GB');
  assert.equal(statusText(sample([gpu(0, 5, 1)]), true, []).text, 'GPU 5 % · 1.1 / 85.9 GB');
  showMemoryIn('GiB');
});
