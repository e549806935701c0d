import { PathExt } from '@jupyterlab/coreutils';
import type { Contents } from '@jupyterlab/services';
import { Widget, type PanelLayout } from '@lumino/widgets';
import { Notice } from './notice';
import { Replay } from './replay';
import { readTrace, TraceError } from './trace';

/** Parsed, a recording takes several times its size in a browser's memory. */
const LARGEST_BYTES = 64e6;

/** Read a recording and show it in the tab, or one sentence about why there is nothing to show. */
export async function loadReplay(
  tab: Widget,
  path: string,
  contents: Pick<Contents.IManager, 'get'>,
  asText: () => void
): Promise<Replay | null> {
  const name = PathExt.basename(path);
  const notice = new Notice('wm-replay-notice', { label: 'Open as text', run: asText });
  const shown = new Widget({ node: notice.node });
  const layout = tab.layout as PanelLayout;
  layout.addWidget(shown);
  notice.say(`Reading ${name}…`);
  try {
    const replay = new Replay(readTrace(await textOf(path, name, contents), name));
    if (tab.isDisposed) {
      replay.dispose();
      return null;
    }
    shown.dispose();
    layout.addWidget(replay);
    return replay;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    notice.say(error instanceof TraceError ? reason : `${name} cannot be read (${reason}).`);
    // What is too large for this view is too large for an editor.
    notice.offer(!(error instanceof TooLarge));
    return null;
  }
}

class TooLarge extends TraceError {}

/** The size first: a file that is too large is not fetched. */
async function textOf(path: string, name: string, contents: Pick<Contents.IManager, 'get'>): Promise<string> {
  const { size } = await contents.get(path, { content: false });
  if ((size ?? 0) > LARGEST_BYTES) {
    throw new TooLarge(
      `${name} has ${Math.round((size ?? 0) / 1e6)} MB, and this view reads recordings up to ${LARGEST_BYTES / 1e6} MB; ` +
        'record it anew with fewer samples a second, or read it in Python with workshop_utils.monitor.trace.read_trace.'
    );
  }
  const { content } = await contents.get(path, { type: 'file', format: 'text', content: true });
  return String(content);
}
