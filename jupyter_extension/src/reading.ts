import { element, setText } from './dom';
import { NOT_REPORTED } from './memory';

let readings = 0;

/** One named value as text, with a sentence that explains the name on hover and on keyboard focus. */
export class Reading {
  readonly node: HTMLElement;
  private readonly _value: HTMLElement;
  private readonly _note: HTMLElement;

  constructor(kind: 'busy' | 'memory', name: string, meaning: string) {
    const id = `wm-meaning-${readings++}`;
    this.node = element('div', `wm-reading wm-${kind}`);
    const label = element('button', 'wm-name', name);
    label.type = 'button';
    label.setAttribute('aria-describedby', id);
    const tip = element('span', 'wm-meaning', meaning);
    tip.id = id;
    tip.setAttribute('role', 'tooltip');
    const term = element('dt', '');
    term.append(label, tip);
    this._value = element('dd', 'wm-value');
    this._note = element('dd', 'wm-note');
    this.node.append(term, this._value, this._note);
  }

  show(value: string, note: string): void {
    setText(this._value, value);
    this._value.classList.toggle('wm-is-missing', value === NOT_REPORTED);
    setText(this._note, note);
    this._note.hidden = note === '';
  }
}
