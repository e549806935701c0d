import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { parseFrame } from '../src/frames';
import { History } from '../src/history';
import { Recorder } from '../src/recorder';
import { DEFAULTS } from '../src/settings';
import { tokensText } from '../src/tokens';
import { readTrace } from '../src/trace';

const NONE = { status: 'unavailable', error: 'none', data: null };
const GPUS = { status: 'ok', error: null, data: [{ index: 0, status: 'ok', name: 'H100' }] };

function sample(time: number): string {
  return JSON.stringify({ version: 1, kind: 'sample', time, gpus: GPUS, host: NONE });
}

/** A feed that is fed by hand, at time 100, with one sample before. */
function fed() {
  const feed: ConstructorParameters<typeof Recorder>[0] = {
    history: new History(),
    owners: new Map([[7, { command: 'python', notebook: 'a.ipynb' }]]),
    warnings: [{ kind: 'idle_gpu', gpu: 0, text: 'Idle.' }],
    plan: { title: 'p', gpus: [] },
    tokens: { tokens_per_second: 40, joules_per_token: 2 },
    machine: { cpu: 'CPU EPYC, 16 cores', versions: { torch: '2.11' } },
    settings: DEFAULTS,
    tap: null
  };
  const send = (text: string): void => feed.tap?.(parseFrame(text), text);
  const first = parseFrame(sample(99));
  if (first.kind === 'sample') {
    feed.history.add(first.sample);
  }
  return { feed, send };
}

test('what the stream says becomes a trace with its header first', () => {
  const { feed, send } = fed();
  let now = 100;
  const recorder = new Recorder(feed, '4.6.6', () => now, assert.fail);
  send(sample(101));
  send('{"version":1,"kind":"warnings","warnings":[]}');
  send('{"version":1,"kind":"tokens","tokens":null}');
  send(sample(102));
  now = 103;
  assert.deepEqual([recorder.samples, recorder.seconds], [2, 3]);
  const text = recorder.stop();
  send(sample(104));
  const trace = readTrace(text, 't');
  assert.deepEqual(trace.hardware, ['H100', 'CPU EPYC, 16 cores']);
  assert.deepEqual(trace.versions, ['torch 2.11', 'jupyterlab 4.6.6']);
  assert.deepEqual([trace.date, trace.cutOff, trace.skipped], [100, false, 0]);
  assert.deepEqual(
    trace.samples.map(each => each.time),
    [101, 102]
  );
  // What held before it began, and what changed.
  assert.deepEqual(
    trace.said.map(each => [each.owners.get(7)?.notebook, each.warnings.length, tokensText(each.tokens)]),
    [
      ['a.ipynb', 1, 'Decoding: 40.0\u00a0tokens/s, 2.00\u00a0J/token'],
      ['a.ipynb', 0, '']
    ]
  );
  assert.deepEqual(trace.plan, { title: 'p', gpus: [] });
  assert.equal(text.endsWith('\n'), true);
});

test('after a reconnect the gap is filled with what the server measured, and with nothing else', () => {
  const { feed, send } = fed();
  const recorder = new Recorder(feed, '4', () => 100, assert.fail);
  send(sample(101));
  send('{"version":1,"kind":"hello","hz":1,"history_seconds":600,"note":null}');
  send(`{"version":1,"kind":"history","samples":[${[50, 99, 101, 104, 105].map(sample).join(',')}]}`);
  send(sample(105));
  send(sample(110));
  const trace = readTrace(recorder.stop(), 't');
  assert.deepEqual(
    trace.samples.map(each => each.time),
    [101, 104, 105, 110]
  );
  // A server that came back and warns of nothing does not say so.
  assert.deepEqual(
    trace.said.map(each => [each.warnings.length, each.tokens !== null]),
    [
      [1, true],
      [0, false],
      [0, false],
      [0, false]
    ]
  );
});

/** What a recording keeps of samples that come at these times, each by itself or as a past. */
function kept(...said: (number | number[])[]): number[] {
  const { feed, send } = fed();
  const recorder = new Recorder(feed, '4', () => 100, assert.fail);
  for (const each of said) {
    const past = (times: number[]) => `{"version":1,"kind":"history","samples":[${times.map(sample)}]}`;
    send(typeof each === 'number' ? sample(each) : past(each));
  }
  const trace = readTrace(recorder.stop(), 't');
  assert.deepEqual([trace.skipped, trace.samples.length], [0, recorder.samples]);
  return trace.samples.map(each => each.time);
}

test('a clock that is set back costs no sample, and the times of a recording never go back', () => {
  assert.deepEqual(kept(101, 102, 50, 51, 51, 52), [101, 102, 103, 104, 105]);
  assert.deepEqual(kept(101, 50, 20, 21), [101, 102, 103, 104]);
});

test('a past is taken once, whatever happened to the clock', () => {
  // Set back before, and while the socket was away.
  assert.deepEqual(kept(101, 102, 50, [100, 101, 102, 50, 51]), [101, 102, 103, 104]);
  assert.deepEqual(kept(101, 102, [100, 101, 102, 103, 50, 51], 52), [101, 102, 103, 104, 105, 106]);
  // A server that began anew since, and one whose past ends before what was seen live.
  assert.deepEqual(kept(101, 102, [50, 51], 52), [101, 102, 103, 104, 105]);
  assert.deepEqual(kept(101, 101.5, [100, 101], 102), [101, 101.5, 102]);
});

test('the end of a recording is not before its last sample', () => {
  const { feed, send } = fed();
  let now = 100;
  const recorder = new Recorder(feed, '4', () => now, assert.fail);
  send(sample(101));
  now = 40;
  send(sample(41));
  assert.deepEqual(JSON.parse(recorder.stop().trim().split('\n').at(-1)!), { kind: 'end', time: 102 });
});

test('a recording ends by itself at a limit, with a sentence', () => {
  for (const [limits, words] of [
    [{ bytes: 2000, seconds: 3600 }, /stopped by itself at 0\.002 MB/],
    [{ bytes: 1e6, seconds: 60 }, /stopped by itself after 1 minutes/]
  ] as const) {
    const { feed, send } = fed();
    let now = 100;
    const said: string[] = [];
    const recorder = new Recorder(
      feed,
      '4',
      () => now,
      sentence => said.push(sentence),
      limits
    );
    for (let at = 1; at <= 200; at++) {
      now += 1;
      send(sample(100 + at));
    }
    assert.equal(said.length, 1);
    assert.match(said[0]!, words);
    const text = recorder.stop();
    assert.ok(text.length < 15_000);
    assert.equal(readTrace(text, 't').cutOff, false);
  }
});

test('a server that says nothing of itself leaves what the panel knows', () => {
  const { feed, send } = fed();
  const recorder = new Recorder({ ...feed, machine: undefined }, '4', () => 100, assert.fail);
  send(sample(101));
  assert.deepEqual(JSON.parse(recorder.stop().split('\n')[0]!).hardware, ['H100', 'CPU']);
});
