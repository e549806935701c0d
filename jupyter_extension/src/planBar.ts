import { element, setText } from './dom';
import { size } from './memory';
import { gapText, partsOf, plannedBytes, type IPlannedTerm } from './plan';

/** One GPU's plan as a bar of its terms, filled as far as memory is in use, with the gap in words. */
export class PlanBar {
  readonly node = element('div', 'wm-plan');
  private readonly _total = element('span', 'wm-plan-total');
  private readonly _bar = element('div', 'wm-plan-bar');
  private readonly _gap = element('p', 'wm-plan-gap');
  private _drawn = '';

  constructor() {
    const head = element('p', 'wm-plan-head');
    head.append(element('span', 'wm-plan-mark'), ' Planned ', this._total);
    this._bar.setAttribute('aria-hidden', 'true');
    this.node.append(head, this._bar, this._gap);
    this.node.hidden = true;
  }

  /** Show a plan beside the memory in use; without a plan there is no bar. */
  show(title: string, terms: IPlannedTerm[] | null, usedBytes: number | null): void {
    this.node.hidden = terms === null;
    if (terms === null) {
      return;
    }
    this.node.title = title;
    setText(this._total, size(plannedBytes(terms)));
    setText(this._gap, gapText(terms, usedBytes));
    const parts = partsOf(terms, usedBytes);
    const drawn = JSON.stringify(parts);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    this._bar.replaceChildren(
      ...parts.map(part => {
        const segment = element('span', `wm-plan-part wm-plan-${part.kind}`);
        segment.style.flexGrow = String(part.bytes);
        segment.style.setProperty('--wm-there', `${(100 * part.thereBytes) / part.bytes}%`);
        segment.title = `${part.name}: ${size(part.bytes)} planned`;
        return segment;
      })
    );
  }
}
