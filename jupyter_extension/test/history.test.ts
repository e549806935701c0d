import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { parseFrame, type IGpu, type ISample } from '../src/frames';
import { gpuAt, gpusSeen, History } from '../src/history';

/** A GPU as the server sends one, with only what a history looks at. */
function gpu(index: number): IGpu {
  const sent = { index, status: 'ok', name: 'GPU' };
  const gpus = { status: 'ok', data: [sent] };
  const host = { status: 'unavailable', error: 'none', data: null };
  const frame = parseFrame(JSON.stringify({ version: 1, kind: 'sample', time: 1, gpus, host }));
  assert.equal(frame.kind, 'sample');
  return (frame as Extract<typeof frame, { kind: 'sample' }>).sample.gpus.data![0]!;
}

function sample(time: number, gpus: IGpu[] | null = []): ISample {
  return { time, gpus: { data: gpus, error: null }, host: { data: null, error: null } };
}

function filled(...times: number[]): History {
  const history = new History();
  times.forEach(time => history.add(sample(time)));
  return history;
}

test('samples that follow one another have no gap', () => {
  assert.deepEqual(
    filled(1, 2, 3.9, 5)
      .rows()
      .map(row => row.time),
    [1, 2, 3.9, 5]
  );
});

test('a pause gets an empty row, so that no line is drawn across it', () => {
  const rows = filled(1, 2, 12).rows();
  assert.deepEqual(
    rows.map(row => [row.time, row.sample === null]),
    [
      [1, false],
      [2, false],
      [7, true],
      [12, false]
    ]
  );
});

test('what counts as a pause depends on the rate', () => {
  const history = filled(0, 10);
  history.hz = 0.2;
  assert.equal(history.rows().length, 2);
});

test('only the last ten minutes stay', () => {
  assert.deepEqual(
    filled(0, 1, 600.5)
      .rows()
      .map(row => row.time),
    [1, 300.75, 600.5]
  );
});

test('a sample that came twice counts once', () => {
  assert.equal(filled(4, 5, 5).rows().length, 2);
});

test('the past of one sample a second has no gaps, however fast the stream is', () => {
  const history = new History();
  history.hz = 10;
  history.merge([1, 2, 3, 4.1].map(time => sample(time)));
  assert.deepEqual(times(history), [1, 2, 3, 4.1]);
  history.add(sample(9));
  assert.deepEqual(times(history), [1, 2, 3, 4.1, 6.55, 9]);
});

function times(history: History): number[] {
  return history.rows().map(row => row.time);
}

test('after a clock that was set back all goes on, and what was sampled before keeps its distances', () => {
  assert.deepEqual(times(filled(5000, 5001, 5003, 100, 101)), [96, 97, 99, 100, 101]);
  const fast = new History();
  fast.hz = 4;
  [9, 9.25, 5].forEach(time => fast.add(sample(time)));
  assert.deepEqual(times(fast), [4.5, 4.75, 5]);
});

test('a past in which the clock was set back ascends as well', () => {
  const history = new History();
  history.merge([5000, 5001, 100, 101, 50, 51].map(time => sample(time)));
  assert.deepEqual(times(history), [46, 47, 48, 49, 50, 51]);
});

test('a reconnect after the clock was set back brings nothing twice', () => {
  const history = filled(5000, 5001, 5002, 100, 101);
  history.merge([5001, 5002, 100, 101, 102].map(time => sample(time)));
  assert.deepEqual(times(history), [97, 98, 99, 100, 101, 102]);
});

test('a clock that is set back while the socket is away costs nothing', () => {
  const seen = filled(5000, 5001, 5002);
  seen.merge([5001, 5002, 5003, 100, 101].map(time => sample(time)));
  assert.deepEqual(times(seen), [96, 97, 98, 99, 100, 101]);
  const restarted = filled(5000, 5001, 5002);
  restarted.merge([100, 101].map(time => sample(time)));
  assert.deepEqual(times(restarted), [97, 98, 99, 100, 101]);
});

test('what was seen live may be a little ahead of what the server remembers', () => {
  const history = filled(1, 2, 3, 3.5);
  history.merge([1, 2, 3].map(time => sample(time)));
  history.add(sample(4));
  assert.deepEqual(times(history), [1, 2, 3, 4]);
});

test('after a reconnect the past of a restarted server does not replace what was measured', () => {
  const history = filled(1, 2, 3);
  history.merge([sample(20), sample(21)]);
  assert.deepEqual(
    history.rows().flatMap(row => row.sample?.time ?? []),
    [1, 2, 3, 20, 21]
  );
});

test('after a reconnect the server fills the hole it knows about', () => {
  const history = filled(1, 2, 6);
  history.merge([sample(2), sample(3), sample(4), sample(5), sample(6)]);
  assert.equal(history.rows().length, 6);
  history.merge([]);
  assert.equal(history.rows().length, 6);
});

test('GPUs are shown in the order of the driver for as long as they are in the window', () => {
  const history = new History();
  history.add(sample(1, [gpu(1), gpu(0)]));
  history.add(sample(2, [gpu(0)]));
  history.add(sample(3, null));
  const rows = history.rows();
  assert.deepEqual(
    gpusSeen(rows).map(each => each.index),
    [0, 1]
  );
  assert.equal(gpuAt(rows[1], 1), null);
  assert.equal(gpuAt(rows[0], 1)?.index, 1);
});
