import { element, setText } from './dom';
import type { IWarning } from './frames';

/** The warnings that hold now, at the head of the panel; nothing where there are none. */
export class WarningList {
  readonly node = element('section', 'wm-warnings');
  private readonly _heading = element('h2', 'wm-heading');
  private readonly _list = element('ul', 'wm-warning-list');

  /** `name` is what the list is called where it is read aloud. */
  constructor(name = 'Warnings') {
    this.node.setAttribute('aria-label', name);
    // Eight GPUs may have many; what scrolls has to be reachable by keyboard.
    this._list.tabIndex = 0;
    this._list.setAttribute('aria-label', 'Warnings that hold now');
    this.node.append(this._heading, this._list);
    this.show([]);
  }

  show(warnings: IWarning[]): void {
    this.node.hidden = warnings.length === 0;
    setText(this._heading, warnings.length === 1 ? '1 warning' : `${warnings.length} warnings`);
    while (this._list.children.length > warnings.length) {
      this._list.lastElementChild?.remove();
    }
    for (const [at, warning] of warnings.entries()) {
      const item = this._list.children[at] ?? this._list.appendChild(element('li', 'wm-warning'));
      setText(item as HTMLElement, warning.text);
    }
  }
}
