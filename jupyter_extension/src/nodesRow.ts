import { element, setText } from './dom';

/** What a cell says and how far its bar is filled, in percent; null draws no bar. */
export interface ICell {
  text: string;
  percent: number | null;
}

/** A line of a node’s table: what it is about, and two figures in words with a small bar each. */
export class NodesRow {
  readonly node = element('tr', 'wm-nodes-row');
  private readonly _name = element('th', '');
  private readonly _aside = element('span', 'wm-nodes-aside');
  private readonly _cells = [new Figure('wm-nodes-busy'), new Figure('wm-nodes-memory')] as const;

  constructor(name: string) {
    this._name.scope = 'row';
    this._name.append(name, this._aside);
    this.node.append(this._name, ...this._cells.map(cell => cell.node));
  }

  /** `aside` stands below the name, `isDim` sets the line back. */
  show(busy: ICell, memory: ICell, aside: string, isDim: boolean): void {
    setText(this._aside, aside);
    this._cells[0].show(busy);
    this._cells[1].show(memory);
    this.node.classList.toggle('wm-is-dim', isDim);
  }
}

class Figure {
  readonly node: HTMLElement;
  private readonly _text = element('span', '');
  private readonly _bar = element('span', 'wm-nodes-bar');

  constructor(className: string) {
    this.node = element('td', className);
    // The words say it; the bar is for the eye.
    this._bar.setAttribute('aria-hidden', 'true');
    this.node.append(this._text, this._bar);
  }

  show({ text, percent }: ICell): void {
    setText(this._text, text);
    this._bar.hidden = percent === null;
    this._bar.style.setProperty('--wm-filled', `${Math.min(100, percent ?? 0)}%`);
  }
}
