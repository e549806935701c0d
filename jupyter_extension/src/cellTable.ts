import type { ICellRun } from './cellRuns';
import { cellText } from './cellText';
import '../style/cellTable.css';
import { element, setText } from './dom';
import type { IFoldedTable } from './foldedTable';
import { hourMinuteSecond } from './format';
import { headedRow } from './headedRow';

/** The runs as a table, the newest first; written only while it is open. */
export class CellTable {
  private readonly _rows = new Map<ICellRun, HTMLTableRowElement>();

  constructor(
    private readonly _fold: IFoldedTable,
    private readonly _go: (run: ICellRun) => Promise<void>
  ) {}

  show(runs: ICellRun[]): void {
    if (!this._fold.node.open) {
      return;
    }
    for (const run of runs) {
      const { cells } = this._rows.get(run) ?? this._add(run);
      const { notebook, cell, outcome } = cellText(run);
      setText(cells[1]?.firstChild as HTMLElement, notebook + cell);
      setText(cells[2] as HTMLElement, outcome);
    }
    this._rows.forEach((row, run) => {
      if (!runs.includes(run)) {
        row.remove();
        this._rows.delete(run);
      }
    });
  }

  /** A row of its own for each run, so that what has the focus stays what it was. */
  private _add(run: ICellRun): HTMLTableRowElement {
    const row = headedRow(this._fold.body, 0, 3);
    setText(row.cells[0] as HTMLElement, hourMinuteSecond(run.start));
    const button = element('button', 'wm-cells-link');
    button.type = 'button';
    button.onclick = () => void this._go(run);
    row.cells[1]?.append(button);
    this._rows.set(run, row);
    return row;
  }
}
