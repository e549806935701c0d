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

/** What else there is to say: its lines come when it is opened first, and are written only while it is open. */
export class Details<T extends IReported> {
  readonly node: HTMLDetailsElement;
  private readonly _alert: HTMLElement;
  private readonly _list = element('dl', 'wm-details-list');
  private _lines: [ILine<T>, HTMLElement][] | null = null;
  private _reading: T | null = null;

  constructor(
    title: string,
    private readonly _load: () => Promise<ILine<T>[]>
  ) {
    this.node = element('details', 'wm-details wm-more');
    const summary = element('summary', 'wm-details-summary', 'More');
    summary.append(element('span', 'wm-unseen', ` of ${title}`));
    this._alert = element('span', 'wm-alert');
    this._alert.hidden = true;
    summary.append(' ', this._alert);
    this.node.append(summary, this._list);
    this.node.addEventListener('toggle', () => void this._draw());
  }

  /** Show a moment, with a few words that are never folded away; null where there is none. */
  show(reading: T | null, alert = ''): void {
    this._reading = reading;
    this.node.hidden = reading === null;
    this._alert.hidden = alert === '';
    setText(this._alert, alert);
    void this._draw();
  }

  private async _draw(): Promise<void> {
    if (!this.node.open) {
      return;
    }
    const lines = await this._load();
    const reading = this._reading;
    this._lines ??= lines.map(line => [line, this._add(line)]);
    if (reading !== null) {
      for (const [line, value] of this._lines) {
        // A number stays with its unit where a narrow panel breaks the line.
        setText(value, line.text(reading).replaceAll(/(\d) (?=[^\s\d])/g, '$1\u00a0'));
        value.title = reading.notReported[line.field] ?? '';
      }
    }
  }

  private _add({ name, meaning }: ILine<T>): HTMLElement {
    const term = element('dt', 'wm-details-name', name);
    term.title = meaning;
    const value = element('dd', 'wm-details-value');
    this._list.append(term, value);
    return value;
  }
}
