import { element, setText } from './dom';

/** One sentence at the head of the panel, read aloud politely, with a button where there is something to do. */
export class Notice {
  readonly node: HTMLElement;
  private readonly _text: HTMLElement;
  private readonly _button: HTMLButtonElement;

  constructor(className: string, action?: { label: string; run: () => void }) {
    this.node = element('div', `wm-notice ${className}`);
    this._text = element('p', 'wm-notice-text');
    this._text.setAttribute('role', 'status');
    this._button = element('button', 'wm-button wm-notice-button', action?.label);
    this._button.type = 'button';
    this.offer(false);
    this._button.onclick = () => action?.run();
    this.node.append(this._text, this._button);
    this.say(null);
  }

  /** Show the button, or hide it while there is nothing to do. */
  offer(possible: boolean): void {
    this._button.hidden = !possible;
  }

  say(sentence: string | null): void {
    // The live region itself stays in the page: a screen reader only announces changes inside one it knows.
    this.node.classList.toggle('wm-is-empty', sentence === null);
    setText(this._text, sentence ?? '');
  }
}
