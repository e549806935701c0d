import { isFields, numberOrNull, textOrNull } from './frames';

/** A GPU of another node at its last reading. */
export interface INodeGpu {
  index: number;
  name: string;
  /** Why there are no figures for it, or null. */
  fault: string | null;
  utilizationPercent: number | null;
  /** Over the last minute; null before there are two readings. */
  meanPercent: number | null;
  memoryUsedBytes: number | null;
  memoryTotalBytes: number | null;
  /** Whether the job holds it; null where nothing says so. */
  mine: boolean | null;
}

/** CPU and main memory of the job on another node. */
export interface INodeHost {
  cpuPercent: number | null;
  cpuLimitCores: number | null;
  memoryUsedBytes: number | null;
  memoryLimitBytes: number | null;
}

/** Another node of the job. */
export interface INode {
  name: string;
  /** Whether its figures are those of now. */
  isLive: boolean;
  /** What there is to say about it, one sentence each. */
  sentences: string[];
  gpus: INodeGpu[];
  host: INodeHost | null;
}

/** The other nodes of the job; `ended` says why their figures have ended. */
export interface INodes {
  ended: string | null;
  nodes: INode[];
}

/** Read the nodes of a frame; null where there are none. */
export function parseNodes(value: unknown): INodes | null {
  if (!isFields(value) || !Array.isArray(value.nodes)) {
    return null;
  }
  return { ended: textOrNull(value.ended), nodes: value.nodes.filter(isFields).map(parseNode) };
}

function parseNode(node: Record<string, unknown>): INode {
  const reading = isFields(node.reading) ? node.reading : {};
  const gpus = Array.isArray(reading.gpus) ? reading.gpus.filter(isFields).map(parseGpu) : [];
  return {
    name: textOrNull(node.name) ?? '',
    isLive: node.status === 'ok',
    sentences: [node.error, reading.gpus_error, reading.host_error].flatMap(each => textOrNull(each) ?? []),
    gpus,
    host: isFields(reading.host) ? parseHost(reading.host) : null
  };
}

function parseGpu(gpu: Record<string, unknown>): INodeGpu {
  const fault = gpu.status === 'ok' ? null : (textOrNull(gpu.error) ?? 'This GPU does not answer.');
  return {
    index: numberOrNull(gpu.index) ?? 0,
    name: textOrNull(gpu.name) ?? '',
    fault,
    utilizationPercent: numberOrNull(gpu.utilization_percent),
    meanPercent: meanOf(Array.isArray(gpu.history) ? gpu.history : []),
    memoryUsedBytes: numberOrNull(gpu.memory_used_bytes),
    memoryTotalBytes: numberOrNull(gpu.memory_total_bytes),
    mine: typeof gpu.mine === 'boolean' ? gpu.mine : null
  };
}

function meanOf(history: unknown[]): number | null {
  const known = history.flatMap(each => numberOrNull(each) ?? []);
  return known.length < 2 ? null : known.reduce((sum, each) => sum + each, 0) / known.length;
}

function parseHost(host: Record<string, unknown>): INodeHost {
  return {
    cpuPercent: numberOrNull(host.cpu_percent),
    cpuLimitCores: numberOrNull(host.cpu_limit_cores),
    memoryUsedBytes: numberOrNull(host.memory_used_bytes),
    memoryLimitBytes: numberOrNull(host.memory_limit_bytes)
  };
}

/** `8 × NVIDIA H200`, each model once. */
export function modelsOf(gpus: INodeGpu[]): string {
  const counts = new Map<string, number>();
  gpus.forEach(({ name }) => counts.set(name, (counts.get(name) ?? 0) + 1));
  return [...counts].map(([name, count]) => `${count} × ${name || 'GPU'}`).join(', ');
}
