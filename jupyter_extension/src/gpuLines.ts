import type { ILine } from './details';
import { joules, twoWays, whole } from './format';
import { NOT_REPORTED, percent, size } from './memory';
import { listOf, numberOrNull, parseProcesses, textOrNull } from './frames';
import type { IGpu, Owners } from './frames';
import { sharesOf } from './shares';

/** A GPU, and whose the programs on it are. */
export interface IGpuMoment extends IGpu {
  owners: Owners;
}

// https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmEnums.html
/** All that a GPU's driver says beside utilisation and memory. */
export const GPU_LINES: ILine<IGpuMoment>[] = [
  {
    name: 'SMs busy',
    meaning: 'The share of the multiprocessors that worked; utilisation only says that some kernel ran.',
    field: 'sm_percent',
    text: gpu => percent(gpu.smPercent)
  },
  {
    name: 'Tensor cores',
    meaning: 'The share of time in which tensor cores worked: high in a prefill, low in decoding.',
    field: 'tensor_percent',
    text: gpu => percent(gpu.tensorPercent)
  },
  {
    name: 'Memory bandwidth',
    meaning: 'The share of the memory bandwidth in use: what limits decoding at a small batch.',
    field: 'dram_percent',
    text: gpu => percent(gpu.dramPercent)
  },
  {
    name: 'Power',
    meaning: 'Watts now, of the limit that is enforced.',
    field: 'power_watts',
    text: gpu => withLimit(gpu.powerWatts, gpu.powerLimitWatts, 'W')
  },
  {
    name: 'Energy',
    meaning: 'Since the panel began to look: power over time.',
    field: 'energy_joules',
    text: gpu => joules(gpu.energyJoules)
  },
  {
    name: 'Temperature',
    meaning: 'Of the chip.',
    field: 'temperature_celsius',
    text: gpu => whole(gpu.temperatureCelsius, '°C')
  },
  {
    name: 'Clocks',
    meaning: 'Of the multiprocessors, and of the memory.',
    field: 'sm_clock_mhz',
    text: gpu => `${whole(gpu.smClockMhz, 'MHz')}, ${whole(gpu.memoryClockMhz, 'MHz')}`
  },
  {
    name: 'PCIe out, in',
    meaning: 'Bytes a second between this GPU and the host since the reading before.',
    field: 'pcie_tx_bytes_per_s',
    text: gpu => twoWays(gpu.pcieOut, gpu.pcieIn)
  },
  {
    name: 'NVLink out, in',
    meaning: 'Bytes a second between this GPU and other GPUs since the reading before, all links together.',
    field: 'nvlink_tx_bytes_per_s',
    text: gpu => twoWays(gpu.nvlinkOut, gpu.nvlinkIn)
  },
  {
    name: 'Programs',
    meaning:
      'What computes on this GPU and its memory: a notebook by name with all that it started, else by number.',
    field: 'processes',
    text: gpu => programs(gpu)
  },
  {
    name: 'MIG',
    meaning:
      'The instances that this GPU is divided into: memory in use, the share of their own SMs, programs.',
    field: 'mig',
    text: gpu => instances(gpu)
  }
];

function withLimit(value: number | null, limit: number | null, unit: string): string {
  return value === null || limit === null
    ? whole(value, unit)
    : `${Math.round(value)} of ${whole(limit, unit)}`;
}

function programs(gpu: Pick<IGpuMoment, 'processes' | 'owners'>): string {
  if (gpu.processes === null) {
    return NOT_REPORTED;
  }
  const each = sharesOf(gpu.processes, gpu.owners).map(
    ({ name, memoryBytes }) => `${name}: ${memoryBytes === null ? 'memory unknown' : size(memoryBytes)}`
  );
  return each.length === 0 ? 'none' : each.join(', ');
}

function instances({ mig, owners }: IGpuMoment): string {
  const each = listOf(mig).map(one => {
    const [used, total] = [numberOrNull(one.memory_used_bytes), numberOrNull(one.memory_total_bytes)];
    const memory = used === null || total === null ? 'memory unknown' : `${size(used)} of ${size(total)}`;
    const busy = `SMs ${percent(numberOrNull(one.sm_percent))}`;
    const whose = programs({ processes: parseProcesses(one.processes), owners });
    return `${textOrNull(one.name) ?? 'an instance'}: ${memory}, ${busy}, programs: ${whose}`;
  });
  return each.length === 0 ? 'not divided' : each.join('; ');
}
