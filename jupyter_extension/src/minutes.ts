import type { IChartData } from './chart';

/** One minute of a chart: the mean of the area, the highest of the line; null where nothing was measured. */
export interface IMinute {
  /** When it begins, in seconds since 1970. */
  time: number;
  busyMean: number | null;
  memoryPeak: number | null;
}

const MINUTE = 60;

/** A chart's data by minutes from `origin` on (0: minutes of the clock), the newest first. */
export function minutesOf(data: IChartData, origin = 0): IMinute[] {
  const rows = new Map<number, { busy: number[]; memory: number[] }>();
  for (const [at, time] of data.times.entries()) {
    const start = origin + Math.floor((time - origin) / MINUTE) * MINUTE;
    const row = rows.get(start) ?? { busy: [], memory: [] };
    rows.set(start, row);
    row.busy.push(...known(data.busy[at]));
    row.memory.push(...known(data.memory[at]));
  }
  return [...rows]
    .sort(([a], [b]) => b - a)
    .map(([time, { busy, memory }]) => ({
      time,
      busyMean: busy.length === 0 ? null : busy.reduce((sum, each) => sum + each, 0) / busy.length,
      memoryPeak: memory.length === 0 ? null : Math.max(...memory)
    }));
}

function known(value: number | null | undefined): number[] {
  return value === null || value === undefined ? [] : [value];
}
