import { strict as assert } from 'node:assert';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { ServerConnection } from '@jupyterlab/services';
import { Stream, type StreamState } from '../src/stream';

const HELLO = '{"version":1,"kind":"hello","hz":1,"history_seconds":600,"note":null}';
const NONE = '{"status":"unavailable","error":"none","data":null}';
const SAMPLE = `{"version":1,"kind":"sample","time":1,"gpus":${NONE},"host":${NONE}}`;
const BAD = SAMPLE.replace('1,"gpus"', 'NaN,"gpus"');

class Socket {
  static all: Socket[] = [];
  isClosed = false;
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;

  constructor(readonly url: string) {
    Socket.all.push(this);
  }

  close(): void {
    this.isClosed = true;
  }

  open(): void {
    this.onopen?.();
  }

  say(...texts: string[]): void {
    texts.forEach(data => this.onmessage?.({ data }));
  }

  /** The server goes away. */
  async end(): Promise<void> {
    this.onclose?.();
    await Promise.resolve();
  }
}

function opened() {
  const frames: string[] = [];
  const states: StreamState[] = [];
  const server = { wsUrl: 'ws://lab/', baseUrl: 'http://lab/', token: '', appendToken: false };
  const stream = new Stream(
    { ...server, WebSocket: Socket } as unknown as ServerConnection.ISettings,
    frame => frames.push(frame.kind),
    state => states.push(state)
  );
  stream.connect();
  newest().open();
  return { stream, frames, states };
}

function newest(): Socket {
  return Socket.all.at(-1)!;
}

/** How long until the next socket is opened. */
function secondsToNext(): number {
  const before = Socket.all.length;
  for (let seconds = 0; seconds < 200; seconds += 0.5) {
    if (Socket.all.length > before) {
      newest().open();
      return seconds;
    }
    mock.timers.tick(500);
  }
  return Infinity;
}

let warned: string[] = [];

beforeEach(() => {
  Socket.all = [];
  warned = [];
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => 0);
  mock.method(console, 'warn', (text: string) => warned.push(text));
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test('the back-off doubles from a second to a minute, and a greeting alone does not reset it', async () => {
  opened();
  for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    newest().say(HELLO);
    await newest().end();
    assert.equal(secondsToNext(), seconds);
  }
});

test('a sample resets the back-off', async () => {
  opened();
  for (const seconds of [1, 2, 4]) {
    await newest().end();
    assert.equal(secondsToNext(), seconds);
  }
  newest().say(HELLO, SAMPLE);
  await newest().end();
  assert.equal(secondsToNext(), 1);
});

test('fifteen seconds of silence are a lost connection', () => {
  const { states } = opened();
  const [first] = Socket.all;
  newest().say(HELLO, SAMPLE);
  mock.timers.tick(14_000);
  newest().say(SAMPLE);
  mock.timers.tick(14_999);
  assert.equal(first?.isClosed, false);
  mock.timers.tick(1);
  assert.equal(first?.isClosed, true);
  assert.match(JSON.stringify(states.at(-1)), /broken.*Disconnected from the server/);
  assert.equal(secondsToNext(), 1);
});

test('a frame that cannot be read is left out, and the stream goes on', () => {
  const { frames, states } = opened();
  newest().say(HELLO, `{"version":1,"kind":"history","samples":[${BAD}]}`, SAMPLE);
  assert.equal(warned.length, 1);
  newest().say(BAD, BAD, SAMPLE);
  assert.deepEqual(frames, ['hello', 'sample', 'sample']);
  assert.equal(warned.length, 2);
  assert.match(warned[0]!, /not JSON/);
  assert.equal(newest().isClosed, false);
  assert.equal(Socket.all.length, 1);
  assert.deepEqual(states.at(-1), { kind: 'live' });
});

test('where no sample can be read, attempts become rare and say why', () => {
  const { states } = opened();
  for (const seconds of [1, 2, 4, 8]) {
    newest().say(HELLO);
    for (let at = 0; at < 15; at++) {
      newest().say(BAD);
      mock.timers.tick(1000);
    }
    assert.match(JSON.stringify(states.at(-1)), /broken.*not JSON/);
    assert.equal(secondsToNext(), seconds);
  }
});

test('a server of another version is told at once, and asked ever more rarely', () => {
  const { states } = opened();
  for (const seconds of [1, 2, 4, 8]) {
    newest().say(HELLO.replace('"version":1', '"version":2'));
    assert.match(JSON.stringify(states.at(-1)), /broken.*version 2/);
    assert.equal(secondsToNext(), seconds);
  }
});

test('a stream that is stopped stays so', async () => {
  const { stream } = opened();
  newest().say(HELLO, SAMPLE);
  stream.stop();
  await newest().end();
  assert.equal(secondsToNext(), Infinity);
});
