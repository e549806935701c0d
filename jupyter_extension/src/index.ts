import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { IStatusBar } from '@jupyterlab/statusbar';
import '../style/base.css';
import { CellRuns } from './cellRuns';
import { Feed } from './feed';
import { recordings } from './recordings';
import { followSettings } from './settingsSource';
import { Sidebar } from './sidebar';
import { StatusItem } from './statusItem';
import { Toasts } from './toasts';

const ID = 'workshop-monitor:panel';
const STATUS = 'workshop-monitor:status';
const SHOW = 'workshop-monitor:show';
/** Set once the panel has opened by itself: a reader who closes it then is not asked again. */
const OPENED = 'workshop-monitor:opened';

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Live GPU, CPU and memory of this job in the left sidebar and the status bar, with warnings.',
  autoStart: true,
  optional: [
    ILayoutRestorer,
    IThemeManager,
    ICommandPalette,
    IStateDB,
    ISettingRegistry,
    IStatusBar,
    IDefaultFileBrowser
  ],
  activate: (
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    themes: IThemeManager | null,
    palette: ICommandPalette | null,
    state: IStateDB | null,
    registry: ISettingRegistry | null,
    statusBar: IStatusBar | null,
    files: IDefaultFileBrowser | null
  ) => {
    const feed = new Feed(app.serviceManager.serverSettings);
    const cells = new CellRuns(() => feed.history.windowSeconds);
    app.docRegistry.addWidgetExtension('Notebook', cells);
    const sidebar = new Sidebar(
      feed,
      {
        contents: app.serviceManager.contents,
        folder: () => files?.model.path ?? '',
        lab: app.version
      },
      cells,
      path => app.commands.execute('docmanager:open', { path })
    );
    app.shell.add(sidebar, 'left', { rank: 650 });
    restorer?.add(sidebar, sidebar.id);
    themes?.themeChanged.connect(() => void sidebar.recolour());
    app.commands.addCommand(SHOW, {
      label: 'Show GPU Monitor',
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(sidebar.id)
    });
    palette?.addItem({ command: SHOW, category: 'Workshop' });
    const show = (): void => void app.commands.execute(SHOW);
    const toasts = new Toasts(show);
    feed.changed.connect(() => toasts.show(feed.warnings, feed.settings.notifications));
    statusBar?.registerStatusItem(STATUS, {
      item: new StatusItem(feed, show),
      align: 'left',
      rank: 10,
      isActive: () => feed.settings.statusBar,
      activeStateChanged: feed.configured
    });
    void followSettings(registry, ID, (settings, problem) => {
      feed.configure(settings, problem);
      if (statusBar !== null && settings.statusBar) {
        feed.start();
      } else if (!sidebar.isLoaded) {
        feed.stop();
      }
    });
    void app.restored.then(async () => {
      if (state !== null && (await state.fetch(OPENED)) === undefined) {
        await state.save(OPENED, true);
        await app.commands.execute(SHOW);
      }
    });
  }
};

export default [plugin, recordings];
