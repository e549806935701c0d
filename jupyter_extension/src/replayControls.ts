import { element, setText } from './dom';
import { elapsed } from './format';
import { SPEEDS, type Player } from './player';
import type { IMark } from './trace';

let lists = 0;

/** Play and pause, the position, and the speed of a recording. */
export class ReplayControls {
  readonly node = element('div', 'wm-controls');
  private readonly _play = element('button', 'wm-button wm-play');
  private readonly _slider = element('input', 'wm-slider');
  private readonly _clock = element('span', 'wm-clock');
  private readonly _speeds: HTMLButtonElement[];

  /** `start` is when the recording began, `hz` how many samples a second it has. */
  constructor(
    private readonly _player: Player,
    start: number,
    hz: number,
    marks: IMark[]
  ) {
    this._play.type = 'button';
    this._play.onclick = () => _player.toggle();
    this._slider.type = 'range';
    this._slider.min = '0';
    this._slider.max = String(_player.seconds);
    // The last position would lie between two steps of a fixed width, so keys step by themselves.
    this._slider.step = 'any';
    this._slider.setAttribute('aria-label', 'Position');
    this._slider.oninput = () => _player.seek(Number(this._slider.value));
    this._slider.onkeydown = event => this._key(event, Math.max(1, 1 / hz));
    this._speeds = SPEEDS.map(speed => this._speedButton(speed));
    const speeds = element('div', 'wm-speeds');
    speeds.setAttribute('role', 'group');
    speeds.setAttribute('aria-label', 'Speed');
    speeds.append(...this._speeds);
    this.node.append(this._play, this._slider, this._clock, speeds);
    this._tick(start, marks);
    this.show();
  }

  /** Show where the player stands. */
  show(): void {
    const { playing, position, seconds, speed } = this._player;
    setText(this._play, playing ? 'Pause' : 'Play');
    this._slider.value = String(position);
    const text = `${elapsed(position)} of ${elapsed(seconds)}`;
    this._slider.setAttribute('aria-valuetext', text);
    setText(this._clock, text);
    this._speeds.forEach((button, at) => button.setAttribute('aria-pressed', String(SPEEDS[at] === speed)));
  }

  private _speedButton(speed: number): HTMLButtonElement {
    const button = element('button', 'wm-button wm-speed', `${speed}×`);
    button.type = 'button';
    button.onclick = () => {
      this._player.speed = speed;
      this.show();
    };
    return button;
  }

  private _key(event: KeyboardEvent, step: number): void {
    const { position, seconds } = this._player;
    const targets: Record<string, number> = {
      ArrowLeft: position - step,
      ArrowDown: position - step,
      ArrowRight: position + step,
      ArrowUp: position + step,
      PageDown: position - seconds / 10,
      PageUp: position + seconds / 10,
      Home: 0,
      End: seconds
    };
    const target = targets[event.key];
    if (target !== undefined) {
      event.preventDefault();
      // Lab moves between tabs with arrows that nobody took.
      event.stopPropagation();
      this._player.seek(target);
    }
  }

  /** The marks of the recording below the slider, where there are some. */
  private _tick(start: number, marks: IMark[]): void {
    if (marks.length > 0) {
      const list = element('datalist', '');
      list.id = `wm-marks-${lists++}`;
      list.append(
        ...marks.map(mark => {
          const option = element('option', '');
          option.value = String(mark.time - start);
          return option;
        })
      );
      this._slider.setAttribute('list', list.id);
      this.node.append(list);
    }
  }
}
