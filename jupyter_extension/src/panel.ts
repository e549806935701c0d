import type { ServerConnection } from '@jupyterlab/services';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { element, setText } from './dom';
import type { Frame, Owners } from './frames';
import { GpuCard } from './gpuCard';
import { gpusSeen, History, type IRow } from './history';
import { HostCard } from './hostCard';
import { Notice } from './notice';
import { readPalette, type IPalette } from './palette';
import { Stream, type StreamState } from './stream';

const WAITING = 'Waiting for the first sample…';

/** The whole panel: a card for each GPU and one for the job. Nothing is drawn while nobody can see it. */
export class MonitorPanel extends Widget {
  private readonly _history = new History();
  private readonly _stream: Stream;
  private readonly _gpuCards = new Map<number, GpuCard>();
  private readonly _hostCard: HostCard;
  private readonly _gpuList = element('div', 'wm-list');
  private readonly _count = element('span', 'wm-count');
  private readonly _connection: Notice;
  private readonly _serverNote = new Notice('wm-notice-note');
  private readonly _gpuNotice = new Notice('wm-notice-gpus');
  private _palette: IPalette | null = null;
  private _frame = 0;
  private _owners: Owners = new Map();

  constructor(settings: ServerConnection.ISettings) {
    super();
    this.addClass('wm-panel');
    this._stream = new Stream(
      settings,
      frame => this._receive(frame),
      state => this._connected(state)
    );
    this._connection = new Notice('wm-notice-connection', {
      label: 'Try now',
      run: () => this._stream.connect()
    });
    this._hostCard = new HostCard(this._colours);
    this._build();
    document.addEventListener('visibilitychange', this._schedule);
    this._connection.say(WAITING);
    this._stream.connect();
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
    this._stream.dispose();
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
      heading,
      this._gpuNotice.node,
      this._gpuList,
      element('h2', 'wm-heading', 'This job'),
      this._hostCard.node
    );
  }

  private readonly _colours = (): IPalette => (this._palette ??= readPalette());

  private _receive(frame: Frame): void {
    if (frame.kind === 'hello') {
      this._history.hz = frame.hz;
      this._history.windowSeconds = frame.historySeconds;
      this._serverNote.say(frame.note);
    } else if (frame.kind === 'history') {
      this._history.merge(frame.samples);
    } else if (frame.kind === 'owners') {
      this._owners = frame.owners;
    } else if (frame.kind === 'sample') {
      this._history.add(frame.sample);
    }
    this._schedule();
  }

  private _connected(state: StreamState): void {
    this.node.dataset.stream = state.kind;
    // A new attempt is no news: what was said about the last one stays until one succeeds.
    if (state.kind === 'broken') {
      this._connection.say(state.sentence);
      this._connection.offer(true);
    } else if (state.kind === 'live') {
      this._connection.say(this._history.latest === null ? WAITING : null);
      this._connection.offer(false);
    }
  }

  /** Draw once before the next repaint, unless nobody would see it. */
  private readonly _schedule = (): void => {
    cancelAnimationFrame(this._frame);
    if (this.isVisible && !document.hidden) {
      this._frame = requestAnimationFrame(() => this._draw());
    }
  };

  private _draw(): void {
    const rows = this._history.rows();
    const latest = this._history.latest;
    if (latest === null) {
      return;
    }
    this._drawGpus(rows);
    this._gpuNotice.say(
      latest.gpus.error ?? (latest.gpus.data?.length === 0 ? 'This machine has no GPU.' : null)
    );
    this._hostCard.draw(rows, this._history.windowSeconds);
  }

  private _drawGpus(rows: IRow[]): void {
    const seen = gpusSeen(rows);
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
      card.owners = this._owners;
      card.draw(rows, this._history.windowSeconds);
    }
  }
}
