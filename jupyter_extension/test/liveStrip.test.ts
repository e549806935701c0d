import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

interface IRows {
  rows: Float64Array[];
  add(buffer: DataView): void;
}

const FILE = join(__dirname, '../../../../src/workshop_utils/widgets/live_strip.js');

/** The rows of the live strip, which is joined into one module with what it uses: here one figure a device. */
function emptyRows(hz: number): IRows {
  const source = readFileSync(FILE, 'utf8').replace('export default', 'const strip =');
  const { Rows } = new Function('FIGURES', `${source}; return { Rows };`)([{}]);
  const traits: Record<string, unknown> = { devices: [{}], hz, window_seconds: 300 };
  return new Rows({ get: (name: string) => traits[name] });
}

function timesAfter(hz: number, ...messages: number[][]): number[] {
  const rows = emptyRows(hz);
  for (const times of messages) {
    rows.add(new DataView(new Float64Array(times.flatMap(time => [time, 50])).buffer));
  }
  return rows.rows.map(row => row[0]!);
}

test('rows are taken once and kept for the window', () => {
  assert.deepEqual(timesAfter(1, [1, 2], [2], [3], [303]), [3, 303]);
});

test('after a clock that was set back all goes on, and rows before keep their distances', () => {
  assert.deepEqual(timesAfter(1, [5000, 5001, 5003], [100], [101]), [96, 97, 99, 100, 101]);
  assert.deepEqual(timesAfter(4, [9, 9.25, 5]), [4.5, 4.75, 5]);
});
