import type { IChartData } from './chart';
import { element, setText } from './dom';
import { percent } from './memory';
import { minutesOf } from './minutes';
import type { ITimeline } from './timeline';

/** A chart as a table, a row a minute: folded away until the reader asks, and written only while it is open. */
export class ChartTable {
  readonly node = element('details', 'wm-details wm-chart-table');
  private readonly _body = element('tbody', '');
  private _data: IChartData | null = null;

  /** `title` is whose it is; `busy` and `memory` name the two columns of figures. */
  constructor(
    title: string,
    busy: string,
    memory: string,
    private readonly _timeline: ITimeline
  ) {
    const summary = element('summary', 'wm-details-summary', 'Table');
    summary.append(element('span', 'wm-unseen', ` of ${title}`));
    const table = element('table', 'wm-table');
    const head = element('tr', '');
    for (const name of ['Minute', `${busy}, mean`, `${memory}, highest`]) {
      const cell = element('th', '', name);
      cell.scope = 'col';
      head.append(cell);
    }
    const header = element('thead', '');
    header.append(head);
    table.append(
      element('caption', 'wm-table-caption', `${title}, the ${_timeline.span}`),
      header,
      this._body
    );
    this.node.append(summary, table);
    this.node.addEventListener('toggle', () => this._draw());
  }

  show(data: IChartData): void {
    this._data = data;
    this._draw();
  }

  private _draw(): void {
    if (this._data === null || !this.node.open) {
      return;
    }
    const minutes = minutesOf(this._data, this._timeline.origin);
    while (this._body.rows.length > minutes.length) {
      this._body.deleteRow(-1);
    }
    for (const [at, { time, busyMean, memoryPeak }] of minutes.entries()) {
      const row = this._body.rows[at] ?? this._addRow();
      const texts = [this._timeline.label(time), percent(busyMean), percent(memoryPeak)];
      texts.forEach((text, column) => setText(row.cells[column] as HTMLElement, text));
    }
  }

  private _addRow(): HTMLTableRowElement {
    const row = this._body.insertRow();
    const heading = element('th', '');
    heading.scope = 'row';
    row.append(heading, element('td', ''), element('td', ''));
    return row;
  }
}
