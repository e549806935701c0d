import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Widget } from '@lumino/widgets';
import { Signal } from '@lumino/signaling';
import { CellRuns, type NotebookContext } from '../src/cellRuns';

const START = Date.parse('2026-09-21T14:00:00Z') / 1000;

/** A notebook with one kernel, as far as the runs look at them. */
class Notebook {
  readonly pathChanged = new Signal<this, string>(this);
  readonly isReady = true;
  readonly anyMessage = new Signal<this, object>(this);
  readonly sessionContext = {
    kernelChanged: new Signal<this, object>(this),
    statusChanged: new Signal<this, string>(this),
    disposed: new Signal<this, void>(this)
  };
  readonly model;

  constructor(
    public path: string,
    ids: string[]
  ) {
    this.model = { cells: ids.map(id => ({ id })) };
  }

  openIn(runs: CellRuns): this {
    runs.createNew({} as Widget, this as unknown as NotebookContext);
    this.sessionContext.kernelChanged.emit({ newValue: this });
    return this;
  }

  ask(cell: string, id = cell): void {
    this.send('execute_request', id, { cellId: cell });
  }

  send(type: string, id: string, metadata: object): void {
    const msg = { header: { msg_type: type, msg_id: id }, parent_header: {}, metadata, content: {} };
    this.anyMessage.emit({ direction: 'send', msg });
  }

  /** The kernel’s answer, this many seconds after the start. */
  answer(id: string, type: string, seconds: number, content: object = {}): void {
    const date = new Date((START + seconds) * 1000).toISOString();
    const msg = { header: { msg_type: type, date }, parent_header: { msg_id: id }, metadata: {}, content };
    this.anyMessage.emit({ direction: 'recv', msg });
  }

  run(id: string, from: number, to: number): void {
    this.ask(id);
    this.answer(id, 'execute_input', from);
    this.answer(id, 'status', to, { execution_state: 'idle' });
  }
}

function opened(...ids: string[]): [CellRuns, Notebook] {
  const runs = new CellRuns(() => 600);
  return [runs, new Notebook('folder/plan.ipynb', ids).openIn(runs)];
}

function shown(runs: CellRuns): unknown[] {
  return runs.list.map(({ cell, number, start, end, outcome }) => [
    cell,
    number,
    start - START,
    end === null ? null : Math.round(end - START),
    outcome
  ]);
}

test('a cell runs from its input to idle, by the kernel’s clock, not from when it was asked for', () => {
  const [runs, notebook] = opened('a', 'b');
  notebook.ask('a');
  notebook.ask('b');
  assert.deepEqual(runs.list, []);
  notebook.answer('a', 'status', 0, { execution_state: 'busy' });
  notebook.answer('a', 'execute_input', 1);
  assert.deepEqual(shown(runs), [['a', 1, 1, null, 'done']]);
  notebook.answer('a', 'execute_reply', 4, { status: 'ok' });
  notebook.answer('a', 'status', 5, { execution_state: 'idle' });
  notebook.answer('b', 'execute_input', 5);
  assert.deepEqual(shown(runs), [
    ['a', 1, 1, 5, 'done'],
    ['b', 2, 5, null, 'done']
  ]);
});

test('a cell that fails is failed, and what waited behind it never began', () => {
  const [runs, notebook] = opened('a', 'b');
  notebook.ask('a');
  notebook.ask('b');
  notebook.answer('a', 'execute_input', 1);
  notebook.answer('a', 'error', 2);
  notebook.answer('a', 'status', 2, { execution_state: 'idle' });
  notebook.answer('b', 'execute_reply', 2, { status: 'aborted' });
  notebook.answer('b', 'status', 2, { execution_state: 'idle' });
  assert.deepEqual(shown(runs), [['a', 1, 1, 2, 'failed']]);
});

test('one cell run twice is two runs', () => {
  const [runs, notebook] = opened('a');
  notebook.ask('a', 'first');
  notebook.ask('a', 'second');
  notebook.answer('first', 'execute_input', 1);
  notebook.answer('first', 'status', 2, { execution_state: 'idle' });
  notebook.answer('second', 'execute_input', 2);
  assert.equal(runs.list.length, 2);
});

test('what no cell asked for is no run', () => {
  const [runs, notebook] = opened('a');
  notebook.send('execute_request', 'silent', {});
  notebook.answer('silent', 'execute_input', 1);
  notebook.send('comm_msg', 'slider', { cellId: 'a' });
  notebook.answer('slider', 'execute_input', 1);
  notebook.answer('of another client', 'execute_input', 1);
  assert.deepEqual(runs.list, []);
});

for (const status of ['restarting', 'autorestarting', 'terminating', 'dead']) {
  test(`a kernel that is ${status} ends what runs, by how long we saw it run`, () => {
    const [runs, notebook] = opened('a', 'b');
    notebook.ask('a');
    notebook.ask('b');
    notebook.answer('a', 'execute_input', 1);
    notebook.sessionContext.statusChanged.emit(status);
    assert.deepEqual(shown(runs), [['a', 1, 1, 1, 'failed (kernel ended)']]);
    notebook.answer('b', 'execute_input', 3);
    assert.equal(runs.list.length, 1);
  });
}

test('a kernel that works, or whose connection is lost, ends nothing', () => {
  const [runs, notebook] = opened('a');
  notebook.ask('a');
  notebook.answer('a', 'execute_input', 1);
  ['busy', 'idle', 'unknown'].forEach(status => notebook.sessionContext.statusChanged.emit(status));
  assert.equal(runs.list[0]?.end, null);
});

test('another kernel in the notebook ends what ran in the first', () => {
  const [runs, notebook] = opened('a');
  notebook.ask('a');
  notebook.answer('a', 'execute_input', 1);
  notebook.sessionContext.kernelChanged.emit({ newValue: null });
  assert.equal(runs.list[0]?.outcome, 'failed (kernel ended)');
});

test('a notebook that is closed leaves an end that nobody saw', () => {
  const [runs, notebook] = opened('a');
  notebook.ask('a');
  notebook.answer('a', 'execute_input', 1);
  notebook.sessionContext.disposed.emit();
  notebook.sessionContext.kernelChanged.emit({ newValue: null });
  assert.equal(runs.list[0]?.outcome, 'end not seen');
  assert.equal(runs.open.size, 0);
});

test('a second view of a notebook is no second notebook', () => {
  const [runs, notebook] = opened('a');
  runs.createNew({} as Widget, notebook as unknown as NotebookContext);
  notebook.run('a', 1, 2);
  assert.equal(runs.list.length, 1);
});

test('a renamed notebook takes its runs along', () => {
  const [runs, notebook] = opened('a');
  notebook.run('a', 1, 2);
  notebook.path = 'folder/other.ipynb';
  notebook.pathChanged.emit(notebook.path);
  assert.equal(runs.list[0]?.notebook.path, 'folder/other.ipynb');
});

test('what ended before the window is forgotten when a cell begins, what still runs is not', () => {
  const [runs, notebook] = opened('a', 'b', 'c', 'd');
  notebook.run('a', 0, 1);
  notebook.run('b', 1, 101);
  notebook.ask('c');
  notebook.answer('c', 'execute_input', 101);
  notebook.run('d', 700, 701);
  assert.deepEqual(
    runs.list.map(run => run.cell),
    ['b', 'c', 'd']
  );
});

test('there are never more than 300', () => {
  const [runs, notebook] = opened('a');
  for (let at = 0; at < 400; at++) {
    notebook.run('a', at, at + 0.5);
  }
  assert.equal(runs.list.length, 300);
  assert.equal(runs.list.at(-1)?.start, START + 399);
});

test('every beginning and every end is told', () => {
  const [runs, notebook] = opened('a');
  let told = 0;
  runs.changed.connect(() => (told += 1));
  notebook.run('a', 1, 2);
  assert.equal(told, 2);
});
