import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { Board } from './board';
import type { CellRow } from './cellRow';
import type { CellRuns } from './cellRuns';
import type { Feed } from './feed';
import type { NodesList } from './nodesList';
import { Notice } from './notice';
import type { Open } from './openCell';
import { parsePlan } from './plan';
import { RecordBar } from './recordBar';
import type { IStore } from './saving';
import { LIVE, windowOf } from './timeline';
import { TokensLine } from './tokens';
import { WarningList } from './warningList';

const WAITING = 'Waiting for the first sample…';

/** The whole panel: a card for each GPU and one for the job. Nothing is drawn while nobody can see it. */
export class MonitorPanel extends Widget {
  private readonly _board = new Board(LIVE, 'This job');
  private readonly _connection: Notice;
  private readonly _serverNote = new Notice('wm-notice-note');
  private readonly _warnings = new WarningList();
  private readonly _recordBar: RecordBar;
  private readonly _tokens = new TokensLine();
  private _cellRow: Promise<void> | null = null;
  private _drawCells: CellRow['draw'] = () => {};
  private _nodes: Promise<NodesList> | null = null;
  private _frame = 0;

  constructor(
    private readonly _feed: Feed,
    store: IStore,
    private readonly _cells: CellRuns,
    private readonly _open: Open
  ) {
    super();
    this.addClass('wm-panel');
    this._connection = new Notice('wm-notice-connection', {
      label: 'Try now',
      run: () => this._feed.retry()
    });
    this._recordBar = new RecordBar(_feed, store);
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'GPUs and this job, live');
    // A scrolling region has to be reachable by keyboard to be scrolled by it.
    this.node.tabIndex = 0;
    this.node.append(
      this._connection.node,
      this._recordBar.node,
      this._serverNote.node,
      this._warnings.node,
      this._tokens.node,
      this._board.node
    );
    document.addEventListener('visibilitychange', this._schedule);
    _feed.changed.connect(this._changed, this);
    _cells.changed.connect(this._schedule);
    this._changed();
    _feed.start();
  }

  /** Take the colours of a new theme. */
  recolour(): void {
    this._board.recolour();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._schedule);
    cancelAnimationFrame(this._frame);
    this._feed.changed.disconnect(this._changed, this);
    this._cells.changed.disconnect(this._schedule);
    this._recordBar.dispose();
    this._board.dispose();
    super.dispose();
  }

  protected override onAfterShow(_message: Message): void {
    this._schedule();
  }

  protected override onAfterAttach(_message: Message): void {
    this._schedule();
  }

  private _changed(): void {
    const { state, history, note } = this._feed;
    this.node.dataset.stream = state.kind;
    this._connection.say(state.kind === 'broken' ? state.sentence : history.latest === null ? WAITING : null);
    this._connection.offer(state.kind === 'broken');
    this._serverNote.say(note);
    this._schedule();
  }

  /** Draw once before the next repaint, unless nobody would see it. */
  private readonly _schedule = (): void => {
    cancelAnimationFrame(this._frame);
    if (this.isVisible && !document.hidden) {
      this._frame = requestAnimationFrame(() => this._draw());
    }
  };

  private _draw(): void {
    const { history, nodes, owners, plan, settings, tokens, warnings } = this._feed;
    this._warnings.show(warnings);
    this._tokens.show(tokens);
    if (nodes !== null) {
      this._nodes ??= this._loadNodes();
    }
    void this._nodes?.then(list => list.draw(nodes));
    if (history.latest !== null) {
      const { gpuCharts, jobChart } = settings;
      const { windowSeconds } = history;
      const rows = history.rows();
      this._board.draw(rows, { owners, plan: parsePlan(plan), windowSeconds, gpuCharts, jobChart });
      const { time } = history.latest;
      this._drawCells(windowOf(rows[0]?.time ?? time, time, LIVE, windowSeconds));
      if (this._cells.list.length > 0) {
        this._cellRow ??= this._loadCells();
      }
    }
  }

  /** A job of one node loads nothing for others. */
  private async _loadNodes(): Promise<NodesList> {
    const { NodesList } = await import('./nodesList');
    return new NodesList(this._board.node);
  }

  /** A reader who runs no cell loads nothing for them. */
  private async _loadCells(): Promise<void> {
    const { CellRow } = await import('./cellRow');
    const row = new CellRow(this._cells, this._open);
    this._drawCells = window => row.draw(window);
    this._board.node.before(row.node);
    this._schedule();
  }
}
