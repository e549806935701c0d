/** The reader's settings, as `schema/panel.json` describes them; the only place that reads them. */

import type { Unit } from './memory';

export interface ISettings {
  /** Samples a second. */
  rate: number;
  unit: Unit;
  gpuCharts: boolean;
  jobChart: boolean;
  statusBar: boolean;
  notifications: boolean;
  warnGpuMemory: boolean;
  gpuMemoryPercent: number;
  warnJobMemory: boolean;
  jobMemoryPercent: number;
  warnIdleGpu: boolean;
  idleMinutes: number;
  watchAlone: boolean;
  warnThrottling: boolean;
}

export const DEFAULTS: ISettings = {
  rate: 1,
  unit: 'GiB',
  gpuCharts: true,
  jobChart: true,
  statusBar: true,
  notifications: true,
  warnGpuMemory: true,
  gpuMemoryPercent: 95,
  warnJobMemory: true,
  jobMemoryPercent: 90,
  warnIdleGpu: true,
  idleMinutes: 15,
  watchAlone: false,
  warnThrottling: true
};

// Not in the schema: Jupyter drops all settings of a reader, without a word to them, where one is out of its range.
const RANGES: Partial<Record<keyof ISettings, [number, number]>> = {
  rate: [0.2, 10],
  gpuMemoryPercent: [0.1, 100],
  jobMemoryPercent: [0.1, 100],
  idleMinutes: [0.01, 1440]
};

/** What is wrong with a value, in words that follow “is”; null where it can be used. */
function fault(name: keyof ISettings, value: unknown): string | null {
  if (typeof DEFAULTS[name] === 'boolean') {
    return typeof value === 'boolean' ? null : 'neither true nor false';
  }
  if (name === 'unit') {
    return value === 'GiB' || value === 'GB' ? null : 'neither "GiB" nor "GB"';
  }
  const [low, high] = RANGES[name] ?? [-Infinity, Infinity];
  const usable = typeof value === 'number' && value >= low && value <= high;
  return usable ? null : `not a number from ${low} to ${high}`;
}

/** Settings that can be used, and one sentence for each value that cannot and falls back to its default. */
export function readSettings(found: Record<string, unknown>): { settings: ISettings; problems: string[] } {
  const usable: Record<string, unknown> = { ...DEFAULTS };
  const problems: string[] = [];
  for (const name of Object.keys(DEFAULTS) as (keyof ISettings)[]) {
    const value = found[name];
    const wrong = value === undefined ? null : fault(name, value);
    if (wrong !== null) {
      problems.push(
        `Setting ${name} is ${JSON.stringify(value)}, ${wrong}; ${String(DEFAULTS[name])} is used.`
      );
    } else if (value !== undefined) {
      usable[name] = value;
    }
  }
  return { settings: usable as unknown as ISettings, problems };
}

/** What of the settings the server has to know, as the query of the stream's address; 0 is off. */
export function queryOf(settings: ISettings): string {
  const limit = (wanted: boolean, value: number): string => String(wanted ? value : 0);
  return new URLSearchParams({
    hz: String(settings.rate),
    unit: settings.unit,
    gpu_memory_percent: limit(settings.warnGpuMemory, settings.gpuMemoryPercent),
    job_memory_percent: limit(settings.warnJobMemory, settings.jobMemoryPercent),
    idle_minutes: limit(settings.warnIdleGpu, settings.idleMinutes),
    watch_alone: limit(settings.warnIdleGpu && settings.watchAlone, 1),
    throttling: limit(settings.warnThrottling, 1)
  }).toString();
}
