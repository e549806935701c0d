import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { Sidebar } from './sidebar';

const ID = 'workshop-monitor:panel';
const SHOW = 'workshop-monitor:show';
/** Set once the panel has opened by itself: a reader who closes it then is not asked again. */
const OPENED = 'workshop-monitor:opened';

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Live GPU, CPU and memory of this job in the left sidebar.',
  autoStart: true,
  optional: [ILayoutRestorer, IThemeManager, ICommandPalette, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    themes: IThemeManager | null,
    palette: ICommandPalette | null,
    state: IStateDB | null
  ) => {
    const sidebar = new Sidebar(app.serviceManager.serverSettings);
    app.shell.add(sidebar, 'left', { rank: 650 });
    restorer?.add(sidebar, sidebar.id);
    themes?.themeChanged.connect(() => void sidebar.recolour());
    app.commands.addCommand(SHOW, {
      label: 'Show GPU Monitor',
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(sidebar.id)
    });
    palette?.addItem({ command: SHOW, category: 'Workshop' });
    void app.restored.then(async () => {
      if (state !== null && (await state.fetch(OPENED)) === undefined) {
        await state.save(OPENED, true);
        await app.commands.execute(SHOW);
      }
    });
  }
};

export default plugin;
