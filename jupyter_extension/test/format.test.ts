import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import {
  elapsed,
  bytesPerSecond,
  cpuLimit,
  joules,
  memoryLimit,
  share,
  timeLeft,
  twoWays,
  whole
} from '../src/format';
import { percent, usedOfTotal } from '../src/memory';
import type { IHost } from '../src/frames';

const GIB = 1024 ** 3;
const JOB: IHost = {
  cpuPercent: 12.5,
  cpuLimitCores: 2,
  cpuLimitSource: 'cgroup v2',
  machineCpuPercent: 3,
  machineCpuCores: 64,
  memoryUsedBytes: 2 * GIB,
  memoryLimitBytes: 8 * GIB,
  memoryLimitSource: 'cgroup v2',
  machineMemoryUsedBytes: 9,
  machineMemoryTotalBytes: 503 * GIB,
  diskRead: null,
  diskWrite: null,
  networkIn: null,
  networkOut: null,
  jobEndsAt: null,
  notReported: {}
};

test('a missing figure is words, never 0', () => {
  assert.equal(percent(null), 'not reported');
  assert.equal(percent(0), '0 %');
  assert.equal(usedOfTotal(null, 8 * GIB), 'not reported');
});

test('memory is binary and says so', () => {
  assert.equal(usedOfTotal(GIB, 150754820096), '1.0 of 140 GiB');
  assert.equal(usedOfTotal(GIB, null), '1.0 GiB');
});

test('a share of something unknown is unknown', () => {
  assert.equal(share(1, 4), 25);
  assert.equal(share(1, 0), null);
  assert.equal(share(null, 4), null);
});

test('a limit is told with its source and the machine around it', () => {
  assert.equal(cpuLimit(JOB), 'of 2 cores (cgroup v2); machine has 64');
  assert.equal(memoryLimit(JOB), 'limit: cgroup v2; machine has 503 GiB');
  assert.equal(cpuLimit({ ...JOB, cpuLimitCores: 0.5 }), 'of 0.5 cores (cgroup v2); machine has 64');
  assert.equal(cpuLimit({ ...JOB, cpuLimitCores: 1 }), 'of 1 core (cgroup v2); machine has 64');
});

test('a job that nothing limits has the whole machine', () => {
  const free = { ...JOB, cpuLimitCores: 64, cpuLimitSource: 'machine', memoryLimitSource: 'machine' };
  assert.equal(cpuLimit(free), 'of 64 cores, the whole machine');
  assert.equal(memoryLimit(free), 'the whole machine');
});

test('rates and energy have units that fit their size', () => {
  assert.equal(bytesPerSecond(50e9), '50.0 GB/s');
  assert.equal(bytesPerSecond(1.5e6), '1.5 MB/s');
  assert.equal(bytesPerSecond(null), 'not reported');
  assert.equal(joules(81_234), '81.2 kJ');
  assert.equal(joules(2.5e6), '2.5 MJ');
  assert.equal(whole(45.6, '°C'), '46 °C');
  assert.equal(twoWays(null, null), 'not reported');
  assert.equal(twoWays(5e9, null), '5.0 GB/s, not reported');
});

test('the time that a job has left is in hours and minutes', () => {
  assert.equal(timeLeft(7500), 'in 2 h 05 min');
  assert.equal(timeLeft(299), 'in 4 min');
  assert.equal(timeLeft(-5), 'in 0 min');
});

test('time since a beginning', () => {
  assert.deepEqual([-1, 0, 59.9, 65, 3605].map(elapsed), ['0:00', '0:00', '0:59', '1:05', '1:00:05']);
});
