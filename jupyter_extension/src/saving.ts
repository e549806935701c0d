import type { Contents } from '@jupyterlab/services';

/** Where recordings go: Jupyter’s own contents, in the folder that the file browser shows. */
export interface IStore {
  contents: Pick<Contents.IManager, 'get' | 'save'>;
  /** The folder that is open now, as the contents name it. */
  folder: () => string;
  /** The version of JupyterLab. */
  lab: string;
}

/** `gpu-recording-20261128-114500.ndjson`, in the reader’s time zone. */
export function datedName(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  const clock = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join('');
  return `gpu-recording-${day}-${clock}.ndjson`;
}

/** Save a recording under a name that is free, and return its path. Rejects as the contents do. */
export async function saveRecording(store: IStore, text: string, now: Date): Promise<string> {
  const folder = store.folder();
  // A drive's own root ends in a colon, as in `RTC:`; what follows it begins without a slash.
  const prefix = folder === '' || folder.endsWith(':') || folder.endsWith('/') ? folder : `${folder}/`;
  const name = datedName(now);
  let path = prefix + name;
  for (let number = 2; await isThere(store, path); number++) {
    path = prefix + name.replace('.ndjson', `-${number}.ndjson`);
  }
  const saved = await store.contents.save(path, { type: 'file', format: 'text', content: text });
  return saved.path;
}

/** The contents overwrite without a question. */
async function isThere(store: IStore, path: string): Promise<boolean> {
  try {
    await store.contents.get(path, { content: false });
    return true;
  } catch (error) {
    const { response } = error as { response?: { status: number } };
    if (response?.status === 404) {
      return false;
    }
    throw error;
  }
}
