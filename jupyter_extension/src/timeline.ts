import { hourMinute, hourMinuteSecond } from './format';

/** What the charts and tables of one view say of time: the last minutes of a machine, or a recording from its start. */
export interface ITimeline {
  /** What a chart covers, in words that follow “the”. */
  span: string;
  /** Whole minutes are counted from here, in seconds since 1970. */
  origin: number;
  /** What the axis shows at least. */
  shortestSeconds: number;
  /** How far apart labels may stand, in seconds. */
  steps: number[];
  /** Height of a chart in CSS pixels. */
  height: number;
  /** Charts with the same key show the same moment under the pointer. */
  key: string;
  /** What sets the names of one view apart from those of another, read aloud only. */
  aside: string;
  /** A label of the axis or of a row of a table. */
  label: (time: number) => string;
  /** A moment to the second. */
  moment: (time: number) => string;
}

export const MINUTE = 60;

/** In a ten-minute window the first minute would be a sliver, so the axis begins with two. */
export const LIVE: ITimeline = {
  span: 'last ten minutes',
  origin: 0,
  shortestSeconds: 2 * MINUTE,
  steps: [MINUTE, 2 * MINUTE, 5 * MINUTE],
  height: 80,
  key: 'workshop-monitor',
  aside: '',
  label: hourMinute,
  moment: hourMinuteSecond
};

/** What the axis shows: it ends with the data, grows with it and then rolls. */
export function windowOf(
  first: number,
  last: number,
  { shortestSeconds }: ITimeline,
  windowSeconds: number
): [number, number] {
  return [last - Math.min(Math.max(shortestSeconds, last - first), windowSeconds), last];
}

/** How far two windows of time lie apart in pixels of a plot that shows the first; infinite if it shows none. */
export function pixelsApart(
  [min, max]: [number, number],
  [from, to]: [number, number],
  width: number
): number {
  return (Math.max(Math.abs(from - min), Math.abs(to - max)) / (max - min)) * width;
}
