/** How long a page is hidden before that counts: a new stream begins with ten minutes of past, which is not free. */
export const ABSENT_MS = 60_000;

/** Tells when nobody has seen the page for a minute, and when somebody sees it again. */
export class Absence {
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _absent = false;

  constructor(private readonly _onChange: (absent: boolean) => void) {
    document.addEventListener('visibilitychange', this._look);
    this._look();
  }

  private readonly _look = (): void => {
    clearTimeout(this._timer);
    if (document.hidden) {
      this._timer = setTimeout(() => this._set(true), ABSENT_MS);
    } else {
      this._set(false);
    }
  };

  private _set(absent: boolean): void {
    if (absent !== this._absent) {
      this._absent = absent;
      this._onChange(absent);
    }
  }
}
