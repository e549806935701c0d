import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DEFAULTS, queryOf, readSettings } from '../src/settings';

test('the schema of the settings editor has the defaults of the panel', () => {
  const schema = JSON.parse(readFileSync('schema/panel.json', 'utf8'));
  const entries = Object.entries(schema.properties as Record<string, { default: unknown }>);
  assert.deepEqual(Object.fromEntries(entries.map(([name, each]) => [name, each.default])), DEFAULTS);
});

test('what is set is used, what is not set has its default', () => {
  const { settings, problems } = readSettings({ rate: 5, unit: 'GB', warnIdleGpu: false });
  assert.deepEqual(settings, { ...DEFAULTS, rate: 5, unit: 'GB', warnIdleGpu: false });
  assert.deepEqual(problems, []);
});

test('what cannot be used falls back with a sentence, and nothing else does', () => {
  const { settings, problems } = readSettings({
    rate: 0,
    idleMinutes: '5',
    unit: 'MB',
    statusBar: 1,
    jobMemoryPercent: 80
  });
  assert.deepEqual(settings, { ...DEFAULTS, jobMemoryPercent: 80 });
  assert.deepEqual(problems, [
    'Setting rate is 0, not a number from 0.2 to 10; 1 is used.',
    'Setting unit is "MB", neither "GiB" nor "GB"; GiB is used.',
    'Setting statusBar is 1, neither true nor false; true is used.',
    'Setting idleMinutes is "5", not a number from 0.01 to 1440; 15 is used.'
  ]);
});

test('the server is told the limits, and 0 for what is off', () => {
  assert.equal(
    queryOf(DEFAULTS),
    'hz=1&unit=GiB&gpu_memory_percent=95&job_memory_percent=90&idle_minutes=15&watch_alone=0&throttling=1'
  );
  const off = queryOf({ ...DEFAULTS, warnGpuMemory: false, warnIdleGpu: false, watchAlone: true });
  assert.match(off, /gpu_memory_percent=0&.*idle_minutes=0&watch_alone=0/);
});
