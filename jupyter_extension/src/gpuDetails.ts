import { element, setText } from './dom';
import { bytesPerSecond, gib, joules, NOT_REPORTED, percent, whole } from './format';
import type { IGpu } from './frames';

/** One line of the details: a name, what it means, the field that would say why it is missing, and its text. */
interface ILine {
  name: string;
  meaning: string;
  field: string;
  text: (gpu: IGpu) => string;
}

// https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmEnums.html
const LINES: ILine[] = [
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
    meaning: 'Since the driver was loaded.',
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
    meaning: 'What computes on this GPU, by process number, with its memory.',
    field: 'processes',
    text: gpu => programs(gpu)
  }
];

function withLimit(value: number | null, limit: number | null, unit: string): string {
  return value === null || limit === null
    ? whole(value, unit)
    : `${Math.round(value)} of ${whole(limit, unit)}`;
}

function twoWays(out: number | null, into: number | null): string {
  return out === null && into === null ? NOT_REPORTED : `${bytesPerSecond(out)}, ${bytesPerSecond(into)}`;
}

function programs(gpu: IGpu): string {
  if (gpu.processes === null) {
    return NOT_REPORTED;
  }
  const each = gpu.processes.map(
    ({ pid, memoryBytes }) =>
      `${pid} (${memoryBytes === null ? 'memory unknown' : `${gib(memoryBytes)} GiB`})`
  );
  return each.length === 0 ? 'none' : each.join(', ');
}

/** What else the driver says of a GPU: folded away until the reader asks, and drawn only while it is open. */
export class GpuDetails {
  readonly node: HTMLDetailsElement;
  private readonly _throttled: HTMLElement;
  private readonly _values: HTMLElement[] = [];
  private _gpu: IGpu | null = null;

  constructor(title: string) {
    this.node = element('details', 'wm-details');
    const summary = element('summary', 'wm-details-summary', 'More');
    summary.setAttribute('aria-label', `More of ${title}`);
    this._throttled = element('span', 'wm-throttled');
    this._throttled.hidden = true;
    summary.append(' ', this._throttled);
    const list = element('dl', 'wm-details-list');
    for (const line of LINES) {
      const name = element('dt', 'wm-details-name', line.name);
      name.title = line.meaning;
      const value = element('dd', 'wm-details-value');
      this._values.push(value);
      list.append(name, value);
    }
    this.node.append(summary, list);
    this.node.addEventListener('toggle', () => this._draw());
  }

  /** Show a moment of the GPU; null where there is none. */
  show(gpu: IGpu | null): void {
    this._gpu = gpu;
    this.node.hidden = gpu === null;
    const held = gpu?.throttleReasons ?? [];
    this._throttled.hidden = held.length === 0;
    setText(this._throttled, `held back: ${held.join(', ')}`);
    this._draw();
  }

  private _draw(): void {
    if (this._gpu === null || !this.node.open) {
      return;
    }
    for (const [at, line] of LINES.entries()) {
      const value = this._values[at];
      if (value !== undefined) {
        // A number stays with its unit where a narrow panel breaks the line.
        setText(value, line.text(this._gpu).replaceAll(/(\d) (?=[^\s\d])/g, '$1\u00a0'));
        value.title = this._gpu.notReported[line.field] ?? '';
      }
    }
  }
}
