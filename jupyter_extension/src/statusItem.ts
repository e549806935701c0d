import { Widget } from '@lumino/widgets';
import { element, setText } from './dom';
import type { Feed } from './feed';
import { statusText } from './statusText';

/** Painting a page for a figure that moved costs more than all else that goes on while the panel is closed. */
const EVERY_MS = 4500;

/** The GPUs in a few words in the status bar; a click opens the panel. */
export class StatusItem extends Widget {
  private readonly _button = element('button', 'wm-status');
  private readonly _text = element('span', 'wm-status-text');
  private readonly _warnings = element('span', 'wm-status-warnings');
  private _shownAt = -Infinity;
  private _key = '';

  constructor(
    private readonly _feed: Feed,
    open: () => void
  ) {
    super();
    this.addClass('wm-status-item');
    this._button.type = 'button';
    this._button.onclick = open;
    this._button.append(this._text, this._warnings);
    this.node.append(this._button);
    _feed.changed.connect(this._show, this);
    this._show();
  }

  private _show(): void {
    const { history, settings, state, warnings } = this._feed;
    const texts = warnings.map(each => each.text);
    // Figures may wait; what begins, breaks off, is warned of or was set may not.
    const key = [state.kind, history.latest === null, settings.unit, ...texts].join();
    const now = performance.now();
    if (now - this._shownAt >= EVERY_MS) {
      this._shownAt = now;
    } else if (key === this._key) {
      return;
    }
    this._key = key;
    const shown = statusText(history.latest, state.kind !== 'broken', texts);
    setText(this._text, shown.text);
    setText(this._warnings, shown.warnings);
    this._warnings.hidden = shown.warnings === '';
    if (this._button.title !== shown.label) {
      this._button.title = shown.label;
    }
  }
}
