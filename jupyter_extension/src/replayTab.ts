import type { Contents } from '@jupyterlab/services';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';
import type { Replay } from './replay';

/** The inside of a recording's tab, empty until the code that shows it is there. */
export class ReplayTab extends Widget {
  private _replay: Promise<Replay | null> | null = null;

  /** `asText` opens the same file in Lab’s editor. */
  constructor(
    private readonly _path: string,
    private readonly _contents: Contents.IManager,
    private readonly _asText: () => void
  ) {
    super();
    this.addClass('wm-replay-tab');
    this.layout = new PanelLayout();
  }

  async recolour(): Promise<void> {
    (await this._replay)?.recolour();
  }

  protected override onAfterAttach(_message: Message): void {
    this._replay ??= this._load();
  }

  private async _load(): Promise<Replay | null> {
    const { loadReplay } = await import('./loadReplay');
    return loadReplay(this, this._path, this._contents, this._asText);
  }
}
