import type { IDocumentWidget } from '@jupyterlab/docregistry';
import type { Widget } from '@lumino/widgets';
import { cellIds, type ICellRun, type INotebookModel } from './cellRuns';

/** Opens a file, or shows the tab that it is open in. */
export type Open = (path: string) => Promise<unknown>;

/** What we use of Lab’s view of a notebook. */
interface INotebookView extends Widget {
  activeCellIndex: number;
  mode: 'command' | 'edit';
  scrollToItem(index: number, align: 'center'): Promise<void>;
}

/** Show the notebook, and select the cell where it is still there. Lab itself says why a file cannot be opened. */
export async function openCell({ notebook, cell }: ICellRun, open: Open): Promise<void> {
  const panel = (await open(notebook.path)) as IDocumentWidget<INotebookView, INotebookModel> | undefined;
  await panel?.context.ready;
  const at = panel === undefined ? -1 : cellIds(panel.context).indexOf(cell);
  if (panel !== undefined && at >= 0) {
    panel.content.mode = 'command';
    panel.content.activeCellIndex = at;
    await panel.content.scrollToItem(at, 'center');
    panel.content.activate();
  }
}
