import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { ICellRun, NotebookContext } from '../src/cellRuns';
import { cellText, duration, locate } from '../src/cellText';

function run(more: Partial<ICellRun>): ICellRun {
  const notebook = { path: 'folder/plan.ipynb' };
  return { notebook, cell: 'a', number: 5, gone: false, start: 100, end: 112.3, outcome: 'done', ...more };
}

function said(more: Partial<ICellRun>): string {
  const { notebook, cell, outcome } = cellText(run(more));
  return `${notebook}${cell}: ${outcome}`;
}

function opened(path: string, ids: string[], isReady = true): NotebookContext {
  return { path, isReady, model: { cells: ids.map(id => ({ id })) } } as unknown as NotebookContext;
}

test('a run says its notebook, its cell, how long it took and how it ended', () => {
  assert.equal(said({}), 'plan.ipynb, cell 5: 12.3 s');
  assert.equal(said({ outcome: 'failed' }), 'plan.ipynb, cell 5: 12.3 s, failed');
  assert.equal(
    said({ outcome: 'failed (kernel ended)' }),
    'plan.ipynb, cell 5: 12.3 s, failed (kernel ended)'
  );
  assert.equal(said({ outcome: 'end not seen' }), 'plan.ipynb, cell 5: 12.3 s, end not seen');
  assert.equal(said({ end: null, outcome: 'failed' }), 'plan.ipynb, cell 5: running');
  assert.equal(said({ gone: true }), 'plan.ipynb, cell 5: 12.3 s, since deleted');
  assert.equal(said({ number: 0, gone: true }), 'plan.ipynb, a cell: 12.3 s, since deleted');
});

test('a duration has tenths of a second below a minute', () => {
  assert.deepEqual([0, 0.04, 12.34, 60, 125, 3600, 3900].map(duration), [
    '0.0 s',
    '0.0 s',
    '12.3 s',
    '1:00 min',
    '2:05 min',
    '1:00:00 h',
    '1:05:00 h'
  ]);
});

test('a cell that was moved has its new number, one that was deleted is gone with its last', () => {
  const runs = [run({ cell: 'a' }), run({ cell: 'b' })];
  locate(runs, [opened('folder/other.ipynb', []), opened('folder/plan.ipynb', ['c', 'a'])]);
  assert.deepEqual(
    runs.map(({ number, gone }) => [number, gone]),
    [
      [2, false],
      [5, true]
    ]
  );
  locate(runs, [opened('folder/plan.ipynb', ['b', 'a'])]);
  assert.equal(runs[1]?.gone, false);
});

test('nothing is said of a notebook that is closed or not yet read', () => {
  const runs = [run({})];
  locate(runs, [opened('folder/plan.ipynb', [], false)]);
  locate(runs, []);
  assert.deepEqual([runs[0]?.number, runs[0]?.gone], [5, false]);
});
