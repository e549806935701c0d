import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { datedName, saveRecording, type IStore } from '../src/saving';

const NOW = new Date(2026, 10, 8, 9, 5, 0);

/** Contents that hold these paths, and what was saved. */
function store(folder: string, there: string[], status = 404) {
  const saved: string[] = [];
  const contents = {
    get: (path: string) =>
      there.includes(path) ? Promise.resolve({}) : Promise.reject({ response: { status } }),
    save: (path: string) => {
      saved.push(path);
      return Promise.resolve({ path });
    }
  } as unknown as IStore['contents'];
  return { saved, store: { contents, folder: () => folder, lab: '4' } };
}

test('the name says when', () => {
  assert.equal(datedName(NOW), 'gpu-recording-20261108-090500.ndjson');
});

test('it goes into the folder that is open, under a name that is free', async () => {
  for (const [folder, there, path] of [
    ['', [], 'gpu-recording-20261108-090500.ndjson'],
    ['a/b', ['a/b/gpu-recording-20261108-090500.ndjson'], 'a/b/gpu-recording-20261108-090500-2.ndjson'],
    ['RTC:', [], 'RTC:gpu-recording-20261108-090500.ndjson']
  ] as const) {
    const { saved, store: into } = store(folder, [...there]);
    assert.equal(await saveRecording(into, 'x', NOW), path);
    assert.deepEqual(saved, [path]);
  }
});

test('nothing is written where it is unknown what is there', async () => {
  const { saved, store: into } = store('', [], 500);
  await assert.rejects(saveRecording(into, 'x', NOW));
  assert.deepEqual(saved, []);
});
