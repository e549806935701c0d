import type { IHost } from './frames';
import { NOT_REPORTED, size } from './memory';

const CLOCK = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
const clock = new Intl.DateTimeFormat(undefined, CLOCK);
const clockWithSeconds = new Intl.DateTimeFormat(undefined, { ...CLOCK, second: '2-digit' });

/** Seconds since 1970 as `14:05` in the reader's time zone. */
export function hourMinute(time: number): string {
  return clock.format(time * 1000);
}

/** Seconds since 1970 as `14:05:09` in the reader's time zone. */
export function hourMinuteSecond(time: number): string {
  return clockWithSeconds.format(time * 1000);
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** Seconds as `1:05`, or `1:00:05` from an hour on. */
export function elapsed(seconds: number): string {
  const all = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  return hours === 0 ? `${minutes}:${two(all % 60)}` : `${hours}:${two(minutes)}:${two(all % 60)}`;
}

/** A share of a whole in percent, or null where either is unknown. */
export function share(part: number | null, whole: number | null): number | null {
  return part === null || whole === null || whole <= 0 ? null : (100 * part) / whole;
}

/** `46 °C`, or words where it is unknown. */
export function whole(value: number | null, unit: string): string {
  return value === null ? NOT_REPORTED : `${Math.round(value)} ${unit}`;
}

/** A rate with the decimal unit in which links are sold: `50.0 GB/s`. */
export function bytesPerSecond(value: number | null): string {
  if (value === null) {
    return NOT_REPORTED;
  }
  return value < 1e8 ? `${(value / 1e6).toFixed(1)} MB/s` : `${(value / 1e9).toFixed(1)} GB/s`;
}

/** Two rates of one link, or words where neither is known. */
export function twoWays(out: number | null, into: number | null): string {
  return out === null && into === null ? NOT_REPORTED : `${bytesPerSecond(out)}, ${bytesPerSecond(into)}`;
}

/** `in 2 h 05 min`; a job that should have ended has no time left. */
export function timeLeft(seconds: number): string {
  const minutes = Math.max(0, Math.floor(seconds / 60));
  const hours = Math.floor(minutes / 60);
  return hours === 0 ? `in ${minutes} min` : `in ${hours} h ${two(minutes % 60)} min`;
}

export function joules(value: number | null): string {
  if (value === null) {
    return NOT_REPORTED;
  }
  return value < 1e6 ? `${(value / 1e3).toFixed(1)} kJ` : `${(value / 1e6).toFixed(1)} MJ`;
}

function cores(count: number): string {
  return `${+count.toFixed(1)} ${count === 1 ? 'core' : 'cores'}`;
}

/** Nothing limits the job: the stream then names the machine itself as the source of the limit. */
function isWholeMachine(source: string | null): boolean {
  return source === null || source === 'machine';
}

/** What `cpu_percent` is a percentage of, in words. */
export function cpuLimit(host: IHost): string {
  const { cpuLimitCores, cpuLimitSource, machineCpuCores } = host;
  if (cpuLimitCores === null) {
    return '';
  }
  if (isWholeMachine(cpuLimitSource)) {
    return `of ${cores(cpuLimitCores)}, the whole machine`;
  }
  const machine = machineCpuCores === null ? '' : `; machine has ${machineCpuCores}`;
  return `of ${cores(cpuLimitCores)} (${cpuLimitSource})${machine}`;
}

/** What limits the job's memory, in words. */
export function memoryLimit(host: IHost): string {
  const { memoryLimitBytes, memoryLimitSource, machineMemoryTotalBytes } = host;
  if (memoryLimitBytes === null) {
    return '';
  }
  if (isWholeMachine(memoryLimitSource)) {
    return 'the whole machine';
  }
  const machine = machineMemoryTotalBytes === null ? '' : `; machine has ${size(machineMemoryTotalBytes)}`;
  return `limit: ${memoryLimitSource}${machine}`;
}
