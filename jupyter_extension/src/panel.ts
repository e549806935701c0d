import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { Board } from './board';
import type { Feed } from './feed';
import { Notice } from './notice';
import { parsePlan } from './plan';
import { RecordBar } from './recordBar';
import type { IStore } from './saving';
import { LIVE } from './timeline';
import { WarningList } from './warningList';

const WAITING = 'Waiting for the first sample…';

/** The whole panel: a card for each GPU and one for the job. Nothing is drawn while nobody can see it. */
export class MonitorPanel extends Widget {
  private readonly _board = new Board(LIVE, 'This job');
  private readonly _connection: Notice;
  private readonly _serverNote = new Notice('wm-notice-note');
  private readonly _warnings = new WarningList();
  private readonly _recordBar: RecordBar;
  private _frame = 0;

  constructor(
    private readonly _feed: Feed,
    store: IStore
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
      this._board.node
    );
    document.addEventListener('visibilitychange', this._schedule);
    _feed.changed.connect(this._changed, this);
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
    const { history, owners, plan, settings, warnings } = this._feed;
    this._warnings.show(warnings);
    if (history.latest !== null) {
      const { gpuCharts, jobChart } = settings;
      const { windowSeconds } = history;
      this._board.draw(history.rows(), { owners, plan: parsePlan(plan), windowSeconds, gpuCharts, jobChart });
    }
  }
}
