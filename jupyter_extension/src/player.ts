/** How fast a recording is played, as a multiple of the time in which it was made. */
export const SPEEDS = [1, 4, 16];

/** Where a recording stands, and whether it moves on; knows nothing of what is shown. */
export class Player {
  private _position = 0;
  private _playing = false;
  speed = 1;

  /** `seconds` is how long the recording is; `onChange` is told of every change. */
  constructor(
    readonly seconds: number,
    private readonly _onChange: () => void
  ) {}

  /** Seconds from the beginning. */
  get position(): number {
    return this._position;
  }

  get playing(): boolean {
    return this._playing;
  }

  seek(position: number): void {
    this._position = Math.min(Math.max(0, position), this.seconds);
    this._onChange();
  }

  /** Play, or pause; at the end it begins again. */
  toggle(): void {
    this._playing = !this._playing;
    if (this._playing && this._position >= this.seconds) {
      this._position = 0;
    }
    this._onChange();
  }

  /** Go on by the time that passed; it pauses at the end. */
  tick(passedSeconds: number): void {
    if (this._playing) {
      const next = this._position + passedSeconds * this.speed;
      this._playing = next < this.seconds;
      this.seek(next);
    }
  }
}
