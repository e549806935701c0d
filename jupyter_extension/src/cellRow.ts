import '../style/cells.css';
import type { CellRuns, ICellRun } from './cellRuns';
import type { CellTable } from './cellTable';
import { cellText, locate } from './cellText';
import { element, setText } from './dom';
import { foldedTable, type IFoldedTable } from './foldedTable';
import type { Open } from './openCell';
import { LIVE } from './timeline';

const LINE_HEIGHT = 16;

/** The cells that ran, on the time axis of the charts: each a button that leads to its cell, each notebook a line. */
export class CellRow {
  readonly node = element('section', 'wm-cells');
  private readonly _track = element('div', 'wm-cells-track');
  private readonly _notebook = element('span', '');
  private readonly _rest = element('span', '');
  private readonly _fold: IFoldedTable;
  private _table: CellTable | null = null;
  private readonly _segments = new Map<ICellRun, HTMLButtonElement>();
  /** The one that the Tab key leads to, among which arrows move; the newest where there is none. */
  private _stop: Element | null = null;

  constructor(
    private readonly _runs: CellRuns,
    private readonly _open: Open
  ) {
    this.node.ariaLabel = 'Cells';
    this._track.role = 'toolbar';
    const label = `Cells, the ${LIVE.span}`;
    this._track.ariaLabel = label;
    this._track.onkeydown = event => this._key(event);
    const said = element('p', 'wm-note');
    said.append(this._notebook, this._rest);
    const columns = ['Began', 'Cell', 'Took'];
    this._fold = foldedTable('wm-cells-table', 'the cells', label, columns);
    this._fold.node.addEventListener('toggle', () => void this._list());
    this.node.append(element('span', 'wm-note', 'Cells'), this._track, said, this._fold.node);
  }

  /** Show what ran between these two moments; what still runs reaches to the end. */
  draw([start, end]: [number, number]): void {
    const shown = this._runs.list.filter(run => (run.end ?? end) >= start);
    this.node.hidden = shown.length === 0;
    locate(shown, this._runs.open);
    this._drop(shown);
    const paths = [...new Set(shown.map(run => run.notebook.path))];
    this._track.style.height = `${LINE_HEIGHT * paths.length}px`;
    const place = (time: number): number => Math.min(Math.max((time - start) / (end - start), 0), 1) * 100;
    for (const run of shown) {
      const segment = this._segments.get(run) ?? this._add(run);
      const { notebook, cell, outcome } = cellText(run);
      segment.dataset.notebook = notebook;
      segment.dataset.outcome = run.end === null ? 'running' : run.outcome;
      segment.ariaLabel = `${notebook}${cell}: ${outcome}`;
      const left = place(run.start);
      segment.style.left = `${left}%`;
      segment.style.width = `${place(run.end ?? end) - left}%`;
      segment.style.top = `${LINE_HEIGHT * paths.indexOf(run.notebook.path)}px`;
    }
    this._table?.show(shown);
    this._say();
  }

  private _add(run: ICellRun): HTMLButtonElement {
    const segment = element('button', 'wm-cell');
    segment.type = 'button';
    segment.onclick = () => void this._go(run);
    segment.onfocus = () => {
      this._stop = segment;
      this._say();
    };
    segment.onblur = segment.onmouseenter = segment.onmouseleave = this._say;
    this._track.append(segment);
    this._segments.set(run, segment);
    return segment;
  }

  private _drop(shown: ICellRun[]): void {
    this._segments.forEach((segment, run) => {
      if (!shown.includes(run)) {
        this._segments.delete(run);
        if (segment === document.activeElement) {
          (segment.nextElementSibling as HTMLElement | null)?.focus();
        }
        segment.remove();
      }
    });
  }

  /** In words: what is pointed at, else what has the focus, else the newest. */
  private readonly _say = (): void => {
    const find = (which: string): HTMLElement | null => this._track.querySelector(which);
    const newest = find(':last-child');
    const stop = this._stop?.isConnected ? this._stop : newest;
    this._segments.forEach(segment => (segment.tabIndex = segment === stop ? 0 : -1));
    const said = find(':hover') ?? find(':focus') ?? newest;
    const notebook = said?.dataset.notebook ?? '';
    setText(this._notebook, notebook);
    setText(this._rest, said?.ariaLabel?.slice(notebook.length) ?? '');
  };

  private _key(event: KeyboardEvent): void {
    const target = {
      ArrowLeft: this._stop?.previousElementSibling,
      ArrowRight: this._stop?.nextElementSibling,
      Home: this._track.firstElementChild,
      End: this._track.lastElementChild
    }[event.key];
    if (target !== undefined) {
      event.preventDefault();
      // Lab moves between tabs with arrows that nobody took.
      event.stopPropagation();
      (target as HTMLElement | null)?.focus();
    }
  }

  /** Most readers never open the table, so it comes when it is opened first. */
  private async _list(): Promise<void> {
    const { CellTable } = await import('./cellVisit');
    this._table ??= new CellTable(this._fold, this._go);
    this._table.show([...this._segments.keys()]);
  }

  private readonly _go = async (run: ICellRun): Promise<void> => {
    const { openCell } = await import('./cellVisit');
    await openCell(run, this._open);
  };
}
