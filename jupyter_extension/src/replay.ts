import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import '../style/replay.css';
import { Board } from './board';
import { element, setText } from './dom';
import { History, type IRow } from './history';
import { Notice } from './notice';
import { parsePlan } from './plan';
import { Player } from './player';
import { recorded } from './recordedTimeline';
import { ReplayControls } from './replayControls';
import { TokensLine } from './tokens';
import { damageText, hardwareText, placeAt, type ITrace } from './trace';
import { WarningList } from './warningList';

/** How often a recording that plays is drawn. */
const TICK_MS = 100;
const dated = new Intl.DateTimeFormat(undefined, { dateStyle: 'long', timeStyle: 'short' });

/** A recording in the panel’s own cards: whole charts, and the readings of the moment at which it stands. */
export class Replay extends Widget {
  private readonly _rows: IRow[];
  private readonly _times: number[];
  private readonly _sampleTimes: number[];
  private readonly _start: number;
  private readonly _board: Board;
  private readonly _controls: ReplayControls;
  private readonly _player: Player;
  private readonly _warnings = new WarningList('Recorded warnings');
  private readonly _tokens = new TokensLine();
  private readonly _mark = element('p', 'wm-mark');
  private _ticks: number | undefined;
  private _drawn = false;

  constructor(private readonly _trace: ITrace) {
    super();
    this.addClass('wm-panel');
    this.addClass('wm-replay');
    const history = new History();
    history.windowSeconds = Infinity;
    history.hz = _trace.hz;
    _trace.samples.forEach(sample => history.add(sample));
    this._rows = history.rows();
    this._times = this._rows.map(row => row.time);
    this._sampleTimes = _trace.samples.map(sample => sample.time);
    this._start = this._times[0] ?? 0;
    this._board = new Board(recorded(this._start), 'The job');
    this._player = new Player((this._times.at(-1) ?? 0) - this._start, () => this._show());
    this._controls = new ReplayControls(this._player, this._start, _trace.hz, _trace.marks);
    this._build();
  }

  /** Take the colours of a new theme. */
  recolour(): void {
    this._board.recolour();
  }

  override dispose(): void {
    window.clearInterval(this._ticks);
    this._board.dispose();
    super.dispose();
  }

  protected override onAfterAttach(_message: Message): void {
    this._draw();
  }

  protected override onAfterShow(_message: Message): void {
    this._draw();
  }

  private _build(): void {
    const { date, hardware } = this._trace;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'GPU recording');
    this.node.tabIndex = 0;
    const head = element('div', 'wm-replay-head');
    const banner = element(
      'p',
      'wm-banner',
      `Recording of ${dated.format(date * 1000)} on ${hardwareText(hardware)}. Nothing here is live.`
    );
    banner.setAttribute('role', 'status');
    const damage = new Notice('wm-notice-note wm-damage');
    damage.say(damageText(this._trace));
    this._mark.hidden = this._trace.marks.length === 0;
    head.append(banner, damage.node, this._controls.node, this._mark);
    this.node.append(
      head,
      element('p', 'wm-about', aboutText(this._trace)),
      this._warnings.node,
      this._tokens.node,
      this._board.node
    );
  }

  /** The charts are of the whole recording, so they are drawn once, as soon as they have a width. */
  private _draw(): void {
    if (!this._drawn && this.isVisible) {
      this._drawn = true;
      this._board.draw(this._rows, {
        owners: new Map(),
        plan: parsePlan(this._trace.plan),
        windowSeconds: Infinity,
        gpuCharts: true,
        jobChart: true
      });
      this._show();
    }
  }

  private _show(): void {
    const { playing, position } = this._player;
    this._controls.show();
    this._run(playing);
    const time = this._start + position;
    const said = this._trace.said[placeAt(this._sampleTimes, time)];
    this._board.move(this._rows, placeAt(this._times, time), time, said?.owners ?? new Map());
    this._warnings.show(said?.warnings ?? []);
    this._tokens.show(said?.tokens);
    const mark = this._trace.marks.findLast(each => each.time <= time);
    setText(this._mark, mark === undefined ? '' : `Since the mark “${mark.text}”`);
  }

  /** Let time go on, or stop it; it stands still while nobody can see it. */
  private _run(playing: boolean): void {
    if (!playing || this._ticks !== undefined) {
      if (!playing) {
        window.clearInterval(this._ticks);
        this._ticks = undefined;
      }
      return;
    }
    let before = performance.now();
    this._ticks = window.setInterval(() => {
      const now = performance.now();
      const passed = now - before;
      before = now;
      if (this.isVisible && !document.hidden) {
        this._player.tick(passed / 1000);
      }
    }, TICK_MS);
  }
}

/** How it was made. */
function aboutText({ command, hz, samples, versions }: ITrace): string {
  const parts = [command === null ? 'Recorded in JupyterLab' : `Recorded: ${command}`];
  return [...parts, `${samples.length} samples, ${hz} a second`, ...versions].join(' · ');
}
