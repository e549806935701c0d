import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { element, setText } from './dom';
import type { Feed } from './feed';
import { GpuCard } from './gpuCard';
import { gpusSeen, type IRow } from './history';
import { HostCard } from './hostCard';
import { Notice } from './notice';
import { readPalette, type IPalette } from './palette';
import { parsePlan } from './plan';
import { WarningList } from './warningList';

const WAITING = 'Waiting for the first sample…';

/** The whole panel: a card for each GPU and one for the job. Nothing is drawn while nobody can see it. */
export class MonitorPanel extends Widget {
  private readonly _gpuCards = new Map<number, GpuCard>();
  private readonly _hostCard: HostCard;
  private readonly _gpuList = element('div', 'wm-list');
  private readonly _count = element('span', 'wm-count');
  private readonly _connection: Notice;
  private readonly _serverNote = new Notice('wm-notice-note');
  private readonly _warnings = new WarningList();
  private readonly _gpuNotice = new Notice('wm-notice-gpus');
  private _palette: IPalette | null = null;
  private _frame = 0;

  constructor(private readonly _feed: Feed) {
    super();
    this.addClass('wm-panel');
    this._connection = new Notice('wm-notice-connection', {
      label: 'Try now',
      run: () => this._feed.retry()
    });
    this._hostCard = new HostCard(this._colours);
    this._build();
    document.addEventListener('visibilitychange', this._schedule);
    _feed.changed.connect(this._changed, this);
    this._changed();
    _feed.start();
  }

  /** Take the colours of a new theme. */
  recolour(): void {
    this._palette = null;
    this._hostCard.recolour();
    this._gpuCards.forEach(card => card.recolour());
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._schedule);
    cancelAnimationFrame(this._frame);
    this._feed.changed.disconnect(this._changed, this);
    this._hostCard.dispose();
    this._gpuCards.forEach(card => card.dispose());
    super.dispose();
  }

  protected override onAfterShow(_message: Message): void {
    this._schedule();
  }

  protected override onAfterAttach(_message: Message): void {
    this._schedule();
  }

  private _build(): void {
    const heading = element('h2', 'wm-heading', 'GPUs');
    heading.append(this._count);
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'GPUs and this job, live');
    // A scrolling region has to be reachable by keyboard to be scrolled by it.
    this.node.tabIndex = 0;
    this.node.append(
      this._connection.node,
      this._serverNote.node,
      this._warnings.node,
      heading,
      this._gpuNotice.node,
      this._gpuList,
      element('h2', 'wm-heading', 'This job'),
      this._hostCard.node
    );
  }

  private readonly _colours = (): IPalette => (this._palette ??= readPalette());

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
    const { history, settings, warnings } = this._feed;
    const rows = history.rows();
    const latest = history.latest;
    this._warnings.show(warnings);
    if (latest === null) {
      return;
    }
    this._drawGpus(rows);
    this._gpuNotice.say(
      latest.gpus.error ?? (latest.gpus.data?.length === 0 ? 'This machine has no GPU.' : null)
    );
    this._hostCard.chartShown = settings.jobChart;
    this._hostCard.draw(rows, history.windowSeconds);
  }

  private _drawGpus(rows: IRow[]): void {
    const seen = gpusSeen(rows);
    const plan = parsePlan(this._feed.plan);
    setText(this._count, seen.length > 0 ? String(seen.length) : '');
    for (const [index, card] of this._gpuCards) {
      if (!seen.some(gpu => gpu.index === index)) {
        card.dispose();
        this._gpuCards.delete(index);
      }
    }
    for (const gpu of seen) {
      let card = this._gpuCards.get(gpu.index);
      if (card === undefined) {
        card = new GpuCard(gpu.index, this._colours);
        this._gpuCards.set(gpu.index, card);
        this._gpuList.append(...seen.flatMap(each => this._gpuCards.get(each.index)?.node ?? []));
      }
      card.subtitle = gpu.name;
      card.owners = this._feed.owners;
      card.plan = plan;
      card.chartShown = this._feed.settings.gpuCharts;
      card.draw(rows, this._feed.history.windowSeconds);
    }
  }
}
