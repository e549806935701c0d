import { element, setText } from './dom';

/** One line of a card's details: a name, what it means, the field that would be missing, and its text. */
export interface ILine<T> {
  name: string;
  meaning: string;
  field: string;
  text: (reading: T) => string;
}

interface IReported {
  notReported: Record<string, string>;
}

/** What else there is to say: folded away until the reader asks, and written only while it is open. */
export class Details<T extends IReported> {
  readonly node: HTMLDetailsElement;
  private readonly _alert: HTMLElement;
  private readonly _values: HTMLElement[] = [];
  private _reading: T | null = null;

  constructor(
    title: string,
    private readonly _lines: ILine<T>[]
  ) {
    this.node = element('details', 'wm-details wm-more');
    const summary = element('summary', 'wm-details-summary', 'More');
    summary.append(element('span', 'wm-unseen', ` of ${title}`));
    this._alert = element('span', 'wm-alert');
    this._alert.hidden = true;
    summary.append(' ', this._alert);
    const list = element('dl', 'wm-details-list');
    for (const line of _lines) {
      const name = element('dt', 'wm-details-name', line.name);
      name.title = line.meaning;
      const value = element('dd', 'wm-details-value');
      this._values.push(value);
      list.append(name, value);
    }
    this.node.append(summary, list);
    this.node.addEventListener('toggle', () => this._draw());
  }

  /** Show a moment, with a few words that are never folded away; null where there is none. */
  show(reading: T | null, alert = ''): void {
    this._reading = reading;
    this.node.hidden = reading === null;
    this._alert.hidden = alert === '';
    setText(this._alert, alert);
    this._draw();
  }

  private _draw(): void {
    const reading = this._reading;
    if (reading === null || !this.node.open) {
      return;
    }
    for (const [at, line] of this._lines.entries()) {
      const value = this._values[at];
      if (value !== undefined) {
        // A number stays with its unit where a narrow panel breaks the line.
        setText(value, line.text(reading).replaceAll(/(\d) (?=[^\s\d])/g, '$1\u00a0'));
        value.title = reading.notReported[line.field] ?? '';
      }
    }
  }
}
