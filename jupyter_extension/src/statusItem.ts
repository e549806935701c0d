import { Widget } from '@lumino/widgets';
import { element, setText } from './dom';
import type { Feed } from './feed';
import { statusText } from './statusText';

/** The GPUs in a few words in the status bar; a click opens the panel. */
export class StatusItem extends Widget {
  private readonly _button = element('button', 'wm-status');
  private readonly _text = element('span', 'wm-status-text');
  private readonly _warnings = element('span', 'wm-status-warnings');

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
    const { history, state, warnings } = this._feed;
    const shown = statusText(
      history.latest,
      state.kind !== 'broken',
      warnings.map(each => each.text)
    );
    setText(this._text, shown.text);
    setText(this._warnings, shown.warnings);
    this._warnings.hidden = shown.warnings === '';
    if (this._button.title !== shown.label) {
      this._button.title = shown.label;
    }
  }
}
