import type { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog, type IDefaultFileBrowser } from '@jupyterlab/filebrowser';

/** Let the reader choose recordings, in the folder that is open, and open them. */
export async function chooseRecording(
  manager: IDocumentManager,
  files: IDefaultFileBrowser | null,
  factory: string
): Promise<void> {
  const chosen = await FileDialog.getOpenFiles({
    manager,
    title: 'Open a GPU recording',
    defaultPath: files?.model.path,
    filter: each => (each.type === 'directory' || each.name.endsWith('.ndjson') ? {} : null)
  });
  for (const each of (chosen.button.accept && chosen.value) || []) {
    if (each.type !== 'directory') {
      manager.openOrReveal(each.path, factory);
    }
  }
}
