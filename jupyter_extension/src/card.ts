import { Chart, type IChartData } from './chart';
import { ChartTable } from './chartTable';
import { element, setText } from './dom';
import type { IRow } from './history';
import type { IPalette } from './palette';
import { Reading } from './reading';
import type { ITimeline } from './timeline';

/** What a card says about one row of the history. */
export interface ICardText {
  busy: string;
  busyNote: string;
  memory: string;
  memoryNote: string;
}

/** How a card names itself and its two readings, each with one sentence that explains it. */
export interface ICardLabels {
  title: string;
  busy: string;
  busyMeaning: string;
  memory: string;
  memoryMeaning: string;
}

/** Only a recording can stand at a gap. */
const GAP = 'Nothing was measured at this moment.';
let cards = 0;

/** A heading, two readings as text, and the time line as a chart. */
export abstract class Card {
  readonly node: HTMLElement;
  private readonly _subtitle: HTMLElement;
  private readonly _fault: HTMLElement;
  private readonly _readings: HTMLElement;
  private readonly _busy: Reading;
  private readonly _memory: Reading;
  private readonly _figure = element('div', 'wm-chart');
  private readonly _chart: Chart;
  private readonly _table: ChartTable;
  /** What is folded away, side by side. */
  protected readonly folds = element('div', 'wm-folds');
  private _rows: IRow[] = [];
  /** A moment, not a row: rows move on under a pointer that rests. */
  private _hovered: number | null = null;
  /** The row that is shown; null for the newest. */
  private _at: number | null = null;

  constructor(
    labels: ICardLabels,
    palette: () => IPalette,
    private readonly _timeline: ITimeline
  ) {
    const id = `wm-card-${cards++}`;
    this.node = element('section', 'wm-card');
    this.node.setAttribute('aria-labelledby', id);
    const heading = element('h3', 'wm-card-heading');
    heading.id = id;
    this._subtitle = element('span', 'wm-card-subtitle');
    heading.append(element('span', 'wm-card-title', labels.title), ' ', this._subtitle);
    if (_timeline.aside !== '') {
      heading.append(element('span', 'wm-unseen', _timeline.aside));
    }
    this._fault = element('p', 'wm-fault');
    this._fault.hidden = true;
    this._busy = new Reading('busy', labels.busy, labels.busyMeaning);
    this._memory = new Reading('memory', labels.memory, labels.memoryMeaning);
    this._readings = element('dl', 'wm-readings');
    this._readings.append(this._busy.node, this._memory.node);
    this._figure.setAttribute('role', 'img');
    this._figure.setAttribute(
      'aria-label',
      `${labels.title}: ${labels.busy} and ${labels.memory}, ${_timeline.span}`
    );
    this._table = new ChartTable(labels.title, labels.busy, labels.memory, _timeline);
    this.folds.append(this._table.node);
    this.node.append(heading, this._fault, this._readings, this._figure, this.folds);
    this._chart = new Chart(this._figure, palette, _timeline, time => this._hover(time));
  }

  /** Show these rows; the text is that of the newest, or of the one under the pointer. */
  draw(rows: IRow[], windowSeconds: number): void {
    this._rows = rows;
    const columns = this.columns(rows);
    if (!this._figure.hidden) {
      this._chart.draw(columns, windowSeconds);
    }
    this._table.show(columns);
    this._show();
  }

  /** Show the row at this place in the time line, at this moment; the chart stays as it is. */
  move(at: number, time: number): void {
    this._at = at;
    this._chart.position = time;
    this._show();
  }

  /** What stands beside the title, such as the model of a GPU. */
  set subtitle(subtitle: string) {
    setText(this._subtitle, subtitle);
    this._subtitle.title = subtitle;
  }

  /** Whether the chart is drawn; its table is there either way. */
  set chartShown(shown: boolean) {
    this._figure.hidden = !shown;
  }

  recolour(): void {
    this._chart.recolour();
  }

  dispose(): void {
    this._chart.dispose();
    this.node.remove();
  }

  /** The two lines of the chart, in percent. */
  protected abstract columns(rows: IRow[]): IChartData;
  /** The readings of one row. */
  protected abstract describe(row: IRow): ICardText;
  /** One sentence when the row that is shown has no readings for this card, else null. */
  protected abstract fault(shown: IRow): string | null;

  /** Show whatever else a card has of one row. */
  protected showMore(_row: IRow): void {}

  private _hover(time: number | null): void {
    this._hovered = time;
    this._show();
  }

  private _show(): void {
    const shown = this._rows.at(this._at ?? -1);
    const row = this._rows.find(each => each.time === this._hovered) ?? shown;
    if (shown === undefined || row === undefined) {
      return;
    }
    const fault = shown.sample === null ? GAP : this.fault(shown);
    this._fault.hidden = fault === null;
    setText(this._fault, fault ?? '');
    this.node.classList.toggle('wm-is-lost', fault !== null);
    // A lost GPU has a past to point at, but nothing to say about now.
    this._readings.hidden = fault !== null && row === shown;
    const text = this.describe(row);
    this._busy.show(text.busy, text.busyNote);
    this._memory.show(text.memory, text.memoryNote);
    this.showMore(row);
    this.node.dataset.at = row === shown ? '' : this._timeline.moment(row.time);
  }
}
