import { cellIds, type ICellRun, type NotebookContext } from './cellRuns';
import { elapsed } from './format';

/** A run in words: `plan.ipynb`, `, cell 5` and `12.3 s, failed`. */
export interface ICellText {
  notebook: string;
  cell: string;
  outcome: string;
}

export function cellText({ notebook, number, start, end, outcome, gone }: ICellRun): ICellText {
  // Not the time so far: a name that changed every second would be read aloud every second.
  const took = end === null ? 'running' : duration(end - start) + (outcome === 'done' ? '' : `, ${outcome}`);
  return {
    notebook: notebook.path.split('/').at(-1) ?? '',
    cell: number === 0 ? ', a cell' : `, cell ${number}`,
    outcome: took + (gone ? ', since deleted' : '')
  };
}

/** `12.3 s`, `2:05 min` or `1:05:00 h`. */
export function duration(seconds: number): string {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : elapsed(seconds) + (seconds < 3600 ? ' min' : ' h');
}

/** Say of each run where its cell stands now, as far as its notebook is open. */
export function locate(runs: ICellRun[], open: Iterable<NotebookContext>): void {
  const ready = [...open].filter(context => context.isReady);
  const cells = new Map(ready.map(context => [context.path, cellIds(context)]));
  for (const run of runs) {
    const at = cells.get(run.notebook.path)?.indexOf(run.cell);
    if (at !== undefined) {
      run.gone = at < 0;
      run.number = at + 1 || run.number;
    }
  }
}
