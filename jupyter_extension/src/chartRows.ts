import type { IChartData } from './chart';
import { setText } from './dom';
import { headedRow } from './headedRow';
import { percent } from './memory';
import { minutesOf } from './minutes';
import type { ITimeline } from './timeline';

/** Write a chart’s minutes into its table. */
export function writeMinutes(body: HTMLTableSectionElement, data: IChartData, timeline: ITimeline): void {
  const minutes = minutesOf(data, timeline.origin);
  while (body.rows.length > minutes.length) {
    body.deleteRow(-1);
  }
  for (const [at, { time, busyMean, memoryPeak }] of minutes.entries()) {
    const row = body.rows[at] ?? headedRow(body, -1, 3);
    const texts = [timeline.label(time), percent(busyMean), percent(memoryPeak)];
    texts.forEach((text, column) => setText(row.cells[column] as HTMLElement, text));
  }
}
