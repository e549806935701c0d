import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

/** How a run ended, in words for the reader. Who closes a notebook no longer hears its kernel. */
export type Outcome = 'done' | 'failed' | 'failed (kernel ended)' | 'end not seen';

/** One run of a cell. Times are in seconds since 1970 by the kernel’s clock, which is that of the samples. */
export interface ICellRun {
  /** Follows a rename. */
  readonly notebook: { path: string };
  readonly cell: string;
  /** The cell’s place in its notebook, from 1 on, as last seen; 0 where it never was. */
  number: number;
  /** Whether its notebook no longer has the cell. */
  gone: boolean;
  /** When the kernel began it. */
  start: number;
  end: number | null;
  outcome: Outcome;
}

/** What we use of Lab’s model of a notebook: no more, so that its package need not be installed to build this. */
export interface INotebookModel extends DocumentRegistry.IModel {
  readonly cells: Iterable<{ id: string }>;
}

export type NotebookContext = DocumentRegistry.IContext<INotebookModel>;

/** What tells us of an answer; each kind of message has some of it. */
interface IAnswer {
  header: KernelMessage.IHeader;
  parent_header: Partial<KernelMessage.IHeader>;
  metadata: { cellId?: unknown };
  content: { execution_state?: string; status?: string };
}

/** More would not be told apart in a panel. */
const MOST_RUNS = 300;
const ENDED = /restarting|terminating|dead/;

/** The ids of a notebook’s cells, in their order. */
export function cellIds(context: NotebookContext): string[] {
  return Array.from(context.model.cells, cell => cell.id);
}

/**
 * Which cell ran when, in every notebook of this page, from what each kernel says. Lab’s own signal of an execution
 * comes when a cell joins the queue, and its timing in a cell’s metadata is off unless the reader switches it on.
 */
export class CellRuns implements DocumentRegistry.IWidgetExtension<Widget, INotebookModel> {
  /** In the order in which they began. */
  list: ICellRun[] = [];
  readonly open = new Set<NotebookContext>();
  /** Emitted when a cell begins or ends. */
  readonly changed = new Signal<this, ICellRun>(this);

  /** `windowSeconds` is how long a run is kept after its end. */
  constructor(private readonly _windowSeconds: () => number) {}

  /** Listen to a notebook; Lab calls this for each that is opened. */
  createNew(_panel: Widget, context: NotebookContext): void {
    // A second view of a notebook has the context of the first.
    if (this.open.has(context)) {
      return;
    }
    this.open.add(context);
    const notebook = { path: context.path };
    /** By the message that asked for them: what waits and what runs. */
    const asked = new Map<string, ICellRun>();
    /** How far our clock is ahead of the kernel’s, for an end that no kernel tells. */
    let ahead = 0;
    const hear = (_kernel: unknown, { direction, msg }: Kernel.IAnyMessageArgs): void => {
      const { header, parent_header, metadata, content } = msg as unknown as IAnswer;
      const cell = metadata.cellId;
      if (direction === 'send') {
        if (header.msg_type === 'execute_request' && typeof cell === 'string') {
          asked.set(header.msg_id, {
            notebook,
            cell,
            number: 0,
            gone: false,
            start: 0,
            end: null,
            outcome: 'done'
          });
        }
        return;
      }
      const id = parent_header.msg_id ?? '';
      const run = asked.get(id);
      if (run === undefined) {
        return;
      }
      const now = Date.now() / 1000;
      const time = Date.parse(header.date) / 1000 || now;
      if (header.msg_type === 'execute_input') {
        run.start = time;
        run.number = cellIds(context).indexOf(run.cell) + 1;
        ahead = now - time;
        this._begin(run);
      } else if (header.msg_type === 'error') {
        run.outcome = 'failed';
      } else if (content.execution_state === 'idle' || content.status === 'aborted') {
        // A cell behind one that failed is aborted: it never began.
        asked.delete(id);
        this._end(run, time);
      }
    };
    const endAll = (outcome: Outcome): void => {
      for (const run of asked.values()) {
        run.outcome = outcome;
        this._end(run, Date.now() / 1000 - ahead);
      }
      asked.clear();
    };
    const kernelEnded = (): void => endAll('failed (kernel ended)');
    const { sessionContext } = context;
    context.pathChanged.connect(() => {
      notebook.path = context.path;
    });
    sessionContext.kernelChanged.connect((_, { newValue }) => {
      kernelEnded();
      newValue?.anyMessage.connect(hear);
    });
    sessionContext.statusChanged.connect((_, status) => {
      if (ENDED.test(status)) {
        kernelEnded();
      }
    });
    sessionContext.disposed.connect(() => {
      endAll('end not seen');
      this.open.delete(context);
    });
  }

  private _begin(run: ICellRun): void {
    const oldest = run.start - this._windowSeconds();
    this.list = [...this.list.filter(({ end }) => end === null || end >= oldest), run].slice(-MOST_RUNS);
    this.changed.emit(run);
  }

  private _end(run: ICellRun, end: number): void {
    run.end = end;
    this.changed.emit(run);
  }
}
