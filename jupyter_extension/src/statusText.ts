import { percent, usedOfTotal } from './memory';
import type { IGpu, ISample } from './frames';

/** What the status bar says, and the same with more words for who points at it or has it read aloud. */
export interface IStatusText {
  text: string;
  /** `⚠ 2 warnings`, or empty. */
  warnings: string;
  label: string;
}

const NOTHING_YET = 'GPU: waiting';

/** The newest sample in a few words; null before the first one. */
export function statusText(sample: ISample | null, connected: boolean, warnings: string[]): IStatusText {
  const count = warnings.length;
  const alarm = count === 0 ? '' : `⚠ ${count} ${count === 1 ? 'warning' : 'warnings'}`;
  if (sample === null || !connected) {
    const text = connected ? NOTHING_YET : 'GPU: disconnected';
    return { text, warnings: '', label: `${text}. Open the GPU monitor.` };
  }
  const gpus = (sample.gpus.data ?? []).filter(gpu => gpu.fault === null && gpu.mine);
  const text = gpus.length === 0 ? hostText(sample) : gpuText(gpus);
  const each = gpus.map(
    gpu =>
      `GPU ${gpu.index}: ${percent(gpu.utilizationPercent)}, ${usedOfTotal(gpu.memoryUsedBytes, gpu.memoryTotalBytes)}`
  );
  const label = [...(each.length === 0 ? [text] : each), ...warnings, 'Open the GPU monitor.'].join('\n');
  return { text, warnings: alarm, label };
}

/** `GPU 2 × 87 % · 61 / 80 GiB`: the mean of all, and the memory of the fullest, which fails first. */
function gpuText(gpus: IGpu[]): string {
  const busy = gpus.flatMap(gpu => gpu.utilizationPercent ?? []);
  const mean = busy.length === 0 ? null : busy.reduce((sum, each) => sum + each, 0) / busy.length;
  const fullest = gpus.reduce((a, b) => (fullness(b) > fullness(a) ? b : a));
  const memory = short(fullest.memoryUsedBytes, fullest.memoryTotalBytes);
  if (mean === null) {
    return `${gpus.length} ${gpus.length === 1 ? 'GPU' : 'GPUs'} · ${memory}`;
  }
  return `GPU ${gpus.length === 1 ? '' : `${gpus.length} × `}${percent(mean)} · ${memory}`;
}

/** Without a GPU the job's own figures. */
function hostText(sample: ISample): string {
  const host = sample.host.data;
  return host === null
    ? 'GPU: none'
    : `No GPU · CPU ${percent(host.cpuPercent)} · ${short(host.memoryUsedBytes, host.memoryLimitBytes)}`;
}

function fullness(gpu: IGpu): number {
  return (gpu.memoryUsedBytes ?? 0) / (gpu.memoryTotalBytes ?? 1);
}

function short(used: number | null, total: number | null): string {
  return usedOfTotal(used, total).replace(' of ', ' / ');
}
