import { elapsed, hourMinute, hourMinuteSecond } from './format';

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

const MINUTE = 60;
const HOUR = 60 * MINUTE;

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

let recordings = 0;

/** The time line of a recording: minutes and seconds since it began. */
export function recorded(start: number): ITimeline {
  const since = (time: number): string => elapsed(time - start);
  return {
    span: 'whole recording',
    origin: start,
    shortestSeconds: 1,
    steps: [
      1,
      2,
      5,
      10,
      15,
      30,
      ...[1, 2, 5, 10, 15, 30].map(each => each * MINUTE),
      HOUR,
      2 * HOUR,
      6 * HOUR,
      24 * HOUR
    ],
    height: 110,
    key: `workshop-monitor-recording-${recordings++}`,
    aside: ', recorded',
    label: since,
    moment: since
  };
}
