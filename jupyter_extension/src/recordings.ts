import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import {
  ABCWidgetFactory,
  DocumentWidget,
  TextModelFactory,
  type DocumentRegistry
} from '@jupyterlab/docregistry';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { monitorIcon } from './icon';
import { ReplayTab } from './replayTab';

const TYPE = 'gpu-recording';
const FACTORY = 'GPU recording';
const OPEN = 'workshop-monitor:open-recording';

/** Lab would read the whole file into an editor’s model, and save it back: we read it ourselves, and only read. */
class NoContent extends TextModelFactory {
  override get name(): string {
    return TYPE;
  }

  override get fileFormat(): null {
    return null;
  }

  override createNew(...options: Parameters<TextModelFactory['createNew']>): DocumentRegistry.ICodeModel {
    const model = super.createNew(...options);
    model.readOnly = true;
    return model;
  }
}

type Recording = DocumentWidget<ReplayTab>;

class Factory extends ABCWidgetFactory<Recording> {
  constructor(
    options: DocumentRegistry.IWidgetFactoryOptions<Recording>,
    private readonly _app: JupyterFrontEnd
  ) {
    super(options);
  }

  protected createNewWidget(context: DocumentRegistry.Context): Recording {
    const { commands, serviceManager } = this._app;
    const asText = (): void =>
      void commands.execute('docmanager:open', { path: context.path, factory: 'Editor' });
    const content = new ReplayTab(context.path, serviceManager.contents, asText);
    const widget = new DocumentWidget({ context, content });
    widget.title.icon = monitorIcon;
    return widget;
  }
}

/** Recordings open by a double click in the file browser; what shows them is loaded with the first one. */
export const recordings: JupyterFrontEndPlugin<void> = {
  id: 'workshop-monitor:recordings',
  description: 'Shows GPU recordings, on any machine.',
  autoStart: true,
  optional: [ILayoutRestorer, IThemeManager, ICommandPalette, IDocumentManager, IDefaultFileBrowser],
  activate: (
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    themes: IThemeManager | null,
    palette: ICommandPalette | null,
    manager: IDocumentManager | null,
    files: IDefaultFileBrowser | null
  ) => {
    const { commands, docRegistry } = app;
    docRegistry.addFileType({
      name: TYPE,
      displayName: FACTORY,
      // A pattern goes before Lab's own type for this extension.
      pattern: '\\.ndjson$',
      extensions: ['.ndjson'],
      icon: monitorIcon
    });
    docRegistry.addModelFactory(new NoContent());
    const factory = new Factory(
      { name: FACTORY, modelName: TYPE, fileTypes: [TYPE], defaultFor: [TYPE], readOnly: true },
      app
    );
    docRegistry.addWidgetFactory(factory);
    const tracker = new WidgetTracker<Recording>({ namespace: TYPE });
    factory.widgetCreated.connect((_, widget) => void tracker.add(widget));
    themes?.themeChanged.connect(() => tracker.forEach(each => void each.content.recolour()));
    void restorer?.restore(tracker, {
      command: 'docmanager:open',
      args: widget => ({ path: widget.context.path, factory: FACTORY }),
      name: widget => widget.context.path
    });
    if (manager !== null) {
      commands.addCommand(OPEN, {
        label: 'Open GPU Recording…',
        describedBy: { args: { type: 'object', properties: {} } },
        execute: async () => (await import('./chooseRecording')).chooseRecording(manager, files, FACTORY)
      });
      palette?.addItem({ command: OPEN, category: 'Workshop' });
    }
  }
};
