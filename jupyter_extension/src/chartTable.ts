import type { IChartData } from './chart';
import { foldedTable, type IFoldedTable } from './foldedTable';
import type { ITimeline } from './timeline';

/** A chart as a table, a row a minute; written only while it is open. */
export class ChartTable {
  private readonly _fold: IFoldedTable;
  private _data: IChartData | null = null;

  /** `title` is whose it is; `busy` and `memory` name the two columns of figures. */
  constructor(
    title: string,
    busy: string,
    memory: string,
    private readonly _timeline: ITimeline
  ) {
    const columns = ['Minute', `${busy}, mean`, `${memory}, highest`];
    this._fold = foldedTable('wm-chart-table', title, `${title}, the ${_timeline.span}`, columns);
    this.node.addEventListener('toggle', () => void this._draw());
  }

  get node(): HTMLElement {
    return this._fold.node;
  }

  show(data: IChartData): void {
    this._data = data;
    void this._draw();
  }

  private async _draw(): Promise<void> {
    if (this._fold.node.open && this._data !== null) {
      const { writeMinutes } = await import('./chartRows');
      writeMinutes(this._fold.body, this._data, this._timeline);
    }
  }
}
