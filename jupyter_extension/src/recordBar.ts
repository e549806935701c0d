import { element, setText } from './dom';
import type { Feed } from './feed';
import { elapsed } from './format';
import { Notice } from './notice';
import type { Recorder } from './recorder';
import type { IStore } from './saving';

const NOTHING = 'Nothing was recorded, because no sample came.';

/** One button that records what the panel receives and, pressed again, saves it in the folder that is open. */
export class RecordBar {
  readonly node = element('div', 'wm-record');
  private readonly _button = element('button', 'wm-button wm-record-button');
  private readonly _clock = element('span', 'wm-record-clock');
  private readonly _notice: Notice;
  private _recorder: Recorder | null = null;
  private _busy = false;
  /** A recording that could not be saved yet. */
  private _unsaved: { text: string; ended: Date; why: string } | null = null;

  constructor(
    private readonly _feed: Feed,
    private readonly _store: IStore
  ) {
    this._button.type = 'button';
    this._button.onclick = () => void this._alone(() => (this._recorder ? this._stop('') : this._start()));
    this._notice = new Notice('wm-record-notice', {
      label: 'Save again',
      run: () => void this._alone(() => this._save())
    });
    const line = element('div', 'wm-record-line');
    line.append(this._button, this._clock);
    this.node.append(line, this._notice.node);
    _feed.changed.connect(this._show, this);
    window.addEventListener('beforeunload', this._ask);
    this._show();
  }

  dispose(): void {
    this._feed.changed.disconnect(this._show, this);
    window.removeEventListener('beforeunload', this._ask);
    this._recorder?.stop();
  }

  /** Do one thing at a time, with one sentence where it fails. */
  private async _alone(act: () => Promise<void>): Promise<void> {
    if (this._busy) {
      return;
    }
    this._busy = true;
    this._show();
    try {
      await act();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this._notice.say(
        this._unsaved === null
          ? `Recording did not begin (${reason}); reload the page.`
          : `The recording is not saved (${reason}); open another folder in the file browser, or wait for the server.`
      );
      this._notice.offer(this._unsaved !== null);
    }
    this._busy = false;
    this._show();
  }

  private async _start(): Promise<void> {
    const { Recorder } = await import('./recording');
    const now = (): number => Date.now() / 1000;
    const full = (why: string): void => void this._alone(() => this._stop(`${why} `));
    this._recorder = new Recorder(this._feed, this._store.lab, now, full);
    this._notice.say(null);
  }

  private async _stop(why: string): Promise<void> {
    const recorder = this._recorder;
    this._recorder = null;
    this._show();
    const text = recorder?.stop() ?? '';
    if (recorder === null || recorder.samples === 0) {
      this._notice.say(NOTHING);
    } else {
      this._unsaved = { text, ended: new Date(), why };
      await this._save();
    }
  }

  private async _save(): Promise<void> {
    const { saveRecording } = await import('./recording');
    if (this._unsaved !== null) {
      const { text, ended, why } = this._unsaved;
      const path = await saveRecording(this._store, text, ended);
      this._unsaved = null;
      this._notice.offer(false);
      this._notice.say(`${why}Saved as ${path}; a double click in the file browser replays it.`);
    }
  }

  private _show(): void {
    const recorder = this._recorder;
    this.node.classList.toggle('wm-is-recording', recorder !== null);
    setText(this._button, recorder === null ? 'Record' : 'Stop and save');
    // A second recording would take the place of one that is not saved.
    this._button.disabled = this._busy || this._unsaved !== null;
    setText(this._clock, recorder === null ? '' : elapsed(recorder.seconds));
  }

  /** A page that closes would take with it what is not saved. */
  private readonly _ask = (event: BeforeUnloadEvent): void => {
    if (this._recorder !== null || this._unsaved !== null) {
      event.preventDefault();
    }
  };
}
