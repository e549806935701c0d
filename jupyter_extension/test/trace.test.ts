import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { damageText, hardwareText, placeAt, readTrace, TraceError } from '../src/trace';

const HEAD = {
  version: 1,
  kind: 'trace',
  hz: 2,
  hardware: ['H100', 'H100', 'CPU'],
  date: '2026-09-21T14:13:20Z'
};
const NONE = { status: 'unavailable', error: 'none', data: null };

function sample(time: number): object {
  return { version: 1, kind: 'sample', time, gpus: NONE, host: NONE };
}

function text(...rows: (object | string)[]): string {
  return rows.map(row => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n');
}

function read(...rows: (object | string)[]) {
  return readTrace(text({ ...HEAD }, ...rows), 't.ndjson');
}

test('a whole trace is read with its header and marks', () => {
  const mark = { kind: 'mark', time: 11.5, text: 'prefill ended' };
  const trace = readTrace(
    text(
      { ...HEAD, command: ['python', 'a.py'], versions: { torch: '2.11' } },
      sample(11),
      mark,
      sample(12),
      {
        kind: 'end'
      }
    ),
    't.ndjson'
  );
  assert.deepEqual([trace.hz, trace.command, trace.versions], [2, 'python a.py', ['torch 2.11']]);
  assert.equal(trace.date, Date.parse('2026-09-21T14:13:20Z') / 1000);
  assert.deepEqual(
    trace.samples.map(each => each.time),
    [11, 12]
  );
  assert.deepEqual(trace.marks, [{ time: 11.5, text: 'prefill ended' }]);
  assert.deepEqual([trace.skipped, trace.cutOff, damageText(trace)], [0, false, null]);
});

test('what was said holds from the next sample on', () => {
  const warnings = { version: 1, kind: 'warnings', warnings: [{ kind: 'idle_gpu', gpu: 0, text: 'Idle.' }] };
  const owners = { version: 1, kind: 'owners', owners: [{ pid: 7, command: 'python', notebook: 'a.ipynb' }] };
  const { said } = read(sample(1), warnings, owners, sample(2), sample(3));
  assert.deepEqual(
    said.map(each => [each.warnings.length, each.owners.get(7)?.notebook]),
    [
      [0, undefined],
      [1, 'a.ipynb'],
      [1, 'a.ipynb']
    ]
  );
});

test('a plan stays after it is taken away, since the charts are of the whole', () => {
  const plan = { title: 'x', gpus: [] };
  const said = (value: unknown) => ({ version: 1, kind: 'plan', plan: value });
  assert.deepEqual(read(sample(1), said(plan), said(null)).plan, plan);
});

test('a last line that is cut is no line', () => {
  const trace = read(sample(1), sample(2), JSON.stringify(sample(3)).slice(0, 40));
  assert.deepEqual([trace.samples.length, trace.skipped, trace.cutOff], [2, 0, true]);
  assert.match(damageText(trace) ?? '', /cut off/);
});

test('lines that cannot be read are counted, those of a newer kind are not', () => {
  const newer = { version: 1, kind: 'marks' };
  const trace = read(sample(1), 'oops', '[]', '{"kind":"sample"}', newer, sample(1), sample(2), {
    kind: 'end'
  });
  assert.deepEqual([trace.samples.length, trace.skipped, trace.cutOff], [2, 4, false]);
  assert.equal(damageText(trace), '4 lines that cannot be read left out.');
});

function timesOf(...times: number[]): [number[], number] {
  const trace = read(...times.map(sample));
  return [trace.samples.map(each => each.time), trace.skipped];
}

test('a time that no calendar holds is left out and counted', () => {
  for (const time of [1e300, -1e300, 1e24, 8.7e12]) {
    assert.deepEqual(timesOf(1, time, 2), [[1, 2], 1]);
    const trace = read(sample(1), { kind: 'mark', time, text: 'never' }, { kind: 'mark', text: 'when?' });
    assert.deepEqual([trace.marks, trace.skipped], [[], 2]);
  }
});

test('one sample from a wrong future is left out, not all that follow it', () => {
  const day = 86_400;
  assert.deepEqual(timesOf(1, 2, 900 * day, 3, 4), [[1, 2, 3, 4], 1]);
  assert.deepEqual(timesOf(900 * day, 1, 2), [[1, 2], 1]);
  assert.deepEqual(timesOf(1, 900 * day, 2), [[1, 2], 1]);
  assert.deepEqual(timesOf(1, 2, 900 * day), [[1, 2], 1]);
  // A pause of weeks is none, and what is there alone stays.
  assert.deepEqual(timesOf(1, 2, 20 * day, 20 * day + 1), [[1, 2, 20 * day, 20 * day + 1], 0]);
  assert.deepEqual(timesOf(5), [[5], 0]);
  assert.deepEqual(timesOf(1, 900 * day), [[1, 900 * day], 0]);
});

test('what was said stays with its sample when one before is left out', () => {
  const warnings = { version: 1, kind: 'warnings', warnings: [{ kind: 'idle_gpu', gpu: 0, text: 'Idle.' }] };
  const { said } = read(sample(1), sample(2), sample(1e9), warnings, sample(3));
  assert.deepEqual(
    said.map(each => each.warnings.length),
    [0, 0, 1]
  );
});

test('a header without a date that can be used has that of the first sample', () => {
  for (const header of [{ date: 'yesterday', time: 1e300 }, { date: 7 }, { time: 'x' }]) {
    const trace = readTrace(text({ version: 1, kind: 'trace', ...header }, sample(5)), 't');
    assert.equal(trace.date, 5);
    assert.doesNotThrow(() => new Date(trace.date * 1000).toISOString());
  }
});

for (const [what, broken, words] of [
  ['nothing', '', /^t\.ndjson is no GPU recording/],
  ['another file', text({ id: 1 }, { id: 2 }), /is no GPU recording/],
  ['a cut header', '{"version":1,"ki', /is no GPU recording/],
  [
    'another version',
    text({ ...HEAD, version: 2 }),
    /version 2 and this panel reads version 1; record it anew/
  ],
  ['no sample', text({ ...HEAD }, { kind: 'end' }), /without a sample that can be read/]
] as const) {
  test(`${what} is one sentence`, () => {
    assert.throws(
      () => readTrace(broken, 't.ndjson'),
      (error: unknown) => error instanceof TraceError && words.test(error.message)
    );
  });
}

test('a header without what it could say is enough', () => {
  const trace = readTrace(text({ version: 1, kind: 'trace', hz: 0 }, sample(5)), 't');
  assert.deepEqual(
    [trace.date, trace.hz, trace.command, hardwareText(trace.hardware)],
    [5, 1, null, 'unknown hardware']
  );
});

test('equal GPUs are counted', () => {
  assert.equal(hardwareText(HEAD.hardware), '2 × H100, CPU');
});

test('the place of a moment is that of the last time that is not after it', () => {
  const times = [10, 11, 15];
  assert.deepEqual(
    [0, 10, 10.9, 11, 14.9, 15, 99].map(time => placeAt(times, time)),
    [0, 0, 0, 1, 1, 2, 2]
  );
  assert.equal(placeAt([], 3), 0);
});
