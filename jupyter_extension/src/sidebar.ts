import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';
import type { CellRuns } from './cellRuns';
import type { Feed } from './feed';
import { monitorIcon } from './icon';
import type { Open } from './openCell';
import type { MonitorPanel } from './panel';
import type { IStore } from './saving';

/** The tab in the left sidebar. It is all that Lab loads at start; the panel comes when it is first opened. */
export class Sidebar extends Widget {
  private _panel: Promise<MonitorPanel> | null = null;

  constructor(
    private readonly _feed: Feed,
    private readonly _store: IStore,
    private readonly _cells: CellRuns,
    private readonly _openFile: Open
  ) {
    super();
    this.id = 'workshop-monitor';
    this.addClass('wm-sidebar');
    this.title.icon = monitorIcon;
    this.title.caption = 'GPU monitor';
    this.layout = new PanelLayout();
  }

  /** Tell whether the panel was opened since the page was. */
  get isLoaded(): boolean {
    return this._panel !== null;
  }

  /** Take the colours of a new theme, where there is something to colour. */
  async recolour(): Promise<void> {
    (await this._panel)?.recolour();
  }

  protected override onBeforeShow(_message: Message): void {
    this._open();
  }

  protected override onAfterAttach(_message: Message): void {
    if (this.isVisible) {
      this._open();
    }
  }

  private _open(): void {
    this._panel ??= this._load();
  }

  private async _load(): Promise<MonitorPanel> {
    const { MonitorPanel } = await import('./panel');
    const panel = new MonitorPanel(this._feed, this._store, this._cells, this._openFile);
    (this.layout as PanelLayout).addWidget(panel);
    return panel;
  }
}
