/** The frames of the server's stream, as CONTRIBUTING.md states them, and the only place that reads them. */

export const STREAM_VERSION = 1;

/** One GPU at one moment. A figure that the driver does not report is null and named in `notReported`. */
export interface IGpu {
  /** The driver's index, by which the panel knows a GPU: one that is lost from the start has no other identity. */
  index: number;
  name: string;
  /** Why there are no figures for this GPU (lost, another job's), or null when it answers. */
  fault: string | null;
  /** False for one that this job does not hold; true also where nothing says so. */
  mine: boolean;
  utilizationPercent: number | null;
  memoryUsedBytes: number | null;
  memoryTotalBytes: number | null;
  /** Shares of the chip in use, in percent: multiprocessors, tensor cores, memory bandwidth. */
  smPercent: number | null;
  tensorPercent: number | null;
  dramPercent: number | null;
  powerWatts: number | null;
  powerLimitWatts: number | null;
  energyJoules: number | null;
  temperatureCelsius: number | null;
  smClockMhz: number | null;
  memoryClockMhz: number | null;
  /** What holds the clocks back, in words; null where the driver does not say. */
  throttleReasons: string[] | null;
  /** Bytes a second. */
  pcieOut: number | null;
  pcieIn: number | null;
  nvlinkOut: number | null;
  nvlinkIn: number | null;
  processes: IGpuProcess[] | null;
  /** Its instances, where it is divided; not read before the line that shows them. */
  mig: unknown;
  notReported: Record<string, string>;
}

/** A program on a GPU; `memoryBytes` is null where the driver hides it. */
export interface IGpuProcess {
  pid: number;
  memoryBytes: number | null;
}

/** Whose a program is; both null where it cannot be seen from the server, `notebook` where it is no notebook's. */
export interface IOwner {
  command: string | null;
  notebook: string | null;
}

/** Programs on GPUs by process number. */
export type Owners = ReadonlyMap<number, IOwner>;

/** What the server warns of; `gpu` is null for the job, `text` one sentence with value, limit and next step. */
export interface IWarning {
  kind: string;
  gpu: number | null;
  text: string;
}

/** CPU and memory of the job, and of the whole machine around it. */
export interface IHost {
  cpuPercent: number | null;
  cpuLimitCores: number | null;
  cpuLimitSource: string | null;
  machineCpuPercent: number | null;
  machineCpuCores: number | null;
  memoryUsedBytes: number | null;
  memoryLimitBytes: number | null;
  memoryLimitSource: string | null;
  machineMemoryUsedBytes: number | null;
  machineMemoryTotalBytes: number | null;
  /** Bytes a second of the machine. */
  diskRead: number | null;
  diskWrite: number | null;
  networkIn: number | null;
  networkOut: number | null;
  /** Seconds since 1970; null where the job has no time limit that is known. */
  jobEndsAt: number | null;
  notReported: Record<string, string>;
}

/** What one provider says: its data, or one sentence about why there is none. */
export interface IProvided<T> {
  data: T | null;
  error: string | null;
}

export interface ISample {
  /** Seconds since 1970, by the server's clock. */
  time: number;
  gpus: IProvided<IGpu[]>;
  host: IProvided<IHost>;
}

export type Frame =
  /** `machine` is not read before something is recorded. */
  | { kind: 'hello'; hz: number; historySeconds: number; note: string | null; machine: unknown }
  | { kind: 'history'; samples: ISample[] }
  | { kind: 'sample'; sample: ISample }
  | { kind: 'owners'; owners: Owners }
  | { kind: 'warnings'; warnings: IWarning[] }
  /** Not read before the panel is opened. */
  | { kind: 'plan'; plan: unknown }
  | { kind: 'nodes'; nodes: unknown }
  | { kind: 'tokens'; tokens: unknown }
  | { kind: 'unknown' };

/** Thrown for a frame that this panel cannot read; the message is a sentence for the reader. */
export class FrameError extends Error {}

type Fields = Record<string, unknown>;

function malformed(what: string): FrameError {
  return new FrameError(`The server sent ${what}; reload the page.`);
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fields(value: unknown, name: string): Fields {
  if (!isFields(value)) {
    throw malformed(`a frame whose ${name} is not an object`);
  }
  return value;
}

export function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

export function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function parseFault(gpu: Fields): string | null {
  if (gpu.status === 'ok') {
    return null;
  }
  const error = textOrNull(gpu.error) ?? 'This GPU does not answer.';
  return gpu.status === 'lost' ? `Lost. ${error}` : error;
}

function parseReasons(value: unknown): Record<string, string> {
  const reasons = isFields(value) ? Object.entries(value) : [];
  return Object.fromEntries(reasons.map(([field, reason]) => [field, String(reason)]));
}

function parseGpu(value: unknown, mine: unknown): IGpu {
  const gpu = fields(value, 'GPU');
  const index = numberOrNull(gpu.index) ?? 0;
  return {
    index,
    name: textOrNull(gpu.name) ?? '',
    fault: parseFault(gpu),
    mine: !Array.isArray(mine) || mine.includes(index),
    utilizationPercent: numberOrNull(gpu.utilization_percent),
    memoryUsedBytes: numberOrNull(gpu.memory_used_bytes),
    memoryTotalBytes: numberOrNull(gpu.memory_total_bytes),
    smPercent: numberOrNull(gpu.sm_percent),
    tensorPercent: numberOrNull(gpu.tensor_percent),
    dramPercent: numberOrNull(gpu.dram_percent),
    powerWatts: numberOrNull(gpu.power_watts),
    powerLimitWatts: numberOrNull(gpu.power_limit_watts),
    energyJoules: numberOrNull(gpu.energy_joules),
    temperatureCelsius: numberOrNull(gpu.temperature_celsius),
    smClockMhz: numberOrNull(gpu.sm_clock_mhz),
    memoryClockMhz: numberOrNull(gpu.memory_clock_mhz),
    throttleReasons: Array.isArray(gpu.throttle_reasons) ? gpu.throttle_reasons.map(String) : null,
    pcieOut: numberOrNull(gpu.pcie_tx_bytes_per_s),
    pcieIn: numberOrNull(gpu.pcie_rx_bytes_per_s),
    nvlinkOut: numberOrNull(gpu.nvlink_tx_bytes_per_s),
    nvlinkIn: numberOrNull(gpu.nvlink_rx_bytes_per_s),
    processes: parseProcesses(gpu.processes),
    mig: gpu.mig,
    notReported: parseReasons(gpu.not_reported)
  };
}

export function parseProcesses(value: unknown): IGpuProcess[] | null {
  if (!Array.isArray(value)) {
    return null;
  }
  return listOf(value).map(each => ({
    pid: numberOrNull(each.pid) ?? 0,
    memoryBytes: numberOrNull(each.memory_bytes)
  }));
}

export function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : [];
}

function parseOwners(value: unknown): Owners {
  return new Map(
    listOf(value).map(owner => [
      numberOrNull(owner.pid) ?? 0,
      { command: textOrNull(owner.command), notebook: textOrNull(owner.notebook) }
    ])
  );
}

function parseWarnings(value: unknown): IWarning[] {
  return listOf(value).map(each => ({
    kind: textOrNull(each.kind) ?? '',
    gpu: numberOrNull(each.gpu),
    text: textOrNull(each.text) ?? ''
  }));
}

function parseHost(value: unknown): IHost {
  const host = fields(value, 'host');
  return {
    cpuPercent: numberOrNull(host.cpu_percent),
    cpuLimitCores: numberOrNull(host.cpu_limit_cores),
    cpuLimitSource: textOrNull(host.cpu_limit_source),
    machineCpuPercent: numberOrNull(host.machine_cpu_percent),
    machineCpuCores: numberOrNull(host.machine_cpu_cores),
    memoryUsedBytes: numberOrNull(host.memory_used_bytes),
    memoryLimitBytes: numberOrNull(host.memory_limit_bytes),
    memoryLimitSource: textOrNull(host.memory_limit_source),
    machineMemoryUsedBytes: numberOrNull(host.machine_memory_used_bytes),
    machineMemoryTotalBytes: numberOrNull(host.machine_memory_total_bytes),
    diskRead: numberOrNull(host.disk_read_bytes_per_s),
    diskWrite: numberOrNull(host.disk_write_bytes_per_s),
    networkIn: numberOrNull(host.network_receive_bytes_per_s),
    networkOut: numberOrNull(host.network_send_bytes_per_s),
    jobEndsAt: numberOrNull(host.job_ends_at),
    notReported: parseReasons(host.not_reported)
  };
}

function parseProvided<T>(value: unknown, name: string, parse: (data: unknown) => T): IProvided<T> {
  const provided = fields(value, name);
  if (provided.status === 'ok') {
    return { data: parse(provided.data), error: null };
  }
  return {
    data: null,
    error: textOrNull(provided.error) ?? `The server does not say why ${name} is missing.`
  };
}

function parseGpus(value: unknown, mine: unknown): IGpu[] {
  if (!Array.isArray(value)) {
    throw malformed('GPUs that are not a list');
  }
  return value.map(gpu => parseGpu(gpu, mine));
}

function parseSample(value: unknown): ISample {
  const sample = fields(value, 'sample');
  const time = numberOrNull(sample.time);
  if (time === null) {
    throw malformed('a sample without a time');
  }
  return {
    time,
    gpus: parseProvided(sample.gpus, 'gpus', gpus => parseGpus(gpus, sample.my_gpus)),
    host: parseProvided(sample.host, 'host', parseHost)
  };
}

/** Read one text frame. Unknown kinds are told apart so that a newer server can say more to newer panels. */
export function parseFrame(text: string): Frame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed('a frame that is not JSON');
  }
  return readFrame(value);
}

/** Read one frame that was parsed already, as of a recording. */
export function readFrame(value: unknown): Frame {
  const frame = fields(value, 'envelope');
  if (frame.version !== STREAM_VERSION) {
    throw new FrameError(
      `The server speaks version ${String(frame.version)} of the stream, this panel ${STREAM_VERSION}: reload the page.`
    );
  }
  switch (frame.kind) {
    case 'hello':
      return {
        kind: 'hello',
        hz: numberOrNull(frame.hz) ?? 1,
        historySeconds: numberOrNull(frame.history_seconds) ?? 600,
        note: textOrNull(frame.note),
        machine: frame.machine
      };
    case 'history':
      return { kind: 'history', samples: Array.isArray(frame.samples) ? frame.samples.map(parseSample) : [] };
    case 'owners':
      return { kind: 'owners', owners: parseOwners(frame.owners) };
    case 'warnings':
      return { kind: 'warnings', warnings: parseWarnings(frame.warnings) };
    case 'plan':
      return { kind: 'plan', plan: frame.plan };
    case 'nodes':
      return { kind: 'nodes', nodes: frame.nodes };
    case 'tokens':
      return { kind: 'tokens', tokens: frame.tokens };
    case 'sample':
      return { kind: 'sample', sample: parseSample(frame) };
    default:
      return { kind: 'unknown' };
  }
}
