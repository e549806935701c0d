import { elapsed } from './format';
import { MINUTE, type ITimeline } from './timeline';

const HOUR = 60 * MINUTE;
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
