import '../style/nodes.css';
import { element, setText } from './dom';
import { parseNodes } from './nodes';
import { NodesCard } from './nodesCard';
import { Notice } from './notice';

/** The other nodes of the job below this one’s cards. Loaded when the server first tells of some. */
export class NodesList {
  private readonly _node = element('section', 'wm-nodes');
  private readonly _count = element('span', 'wm-count');
  private readonly _notice = new Notice('wm-nodes-notice');
  private readonly _list = element('div', 'wm-list');
  private _cards: NodesCard[] = [];
  private _drawn: unknown = undefined;

  /** `board` is what it stands below. */
  constructor(board: HTMLElement) {
    const heading = element('h2', 'wm-heading', 'Other nodes');
    heading.append(this._count);
    this._node.setAttribute('aria-label', 'Other nodes of this job');
    this._node.append(heading, this._notice.node, this._list);
    board.after(this._node);
  }

  /** Draw what a frame said; the same again costs nothing. */
  draw(said: unknown): void {
    if (said === this._drawn) {
      return;
    }
    this._drawn = said;
    const found = parseNodes(said);
    this._node.hidden = found === null;
    const nodes = found?.nodes ?? [];
    if (nodes.map(node => node.name).join() !== this._cards.map(card => card.name).join()) {
      this._cards = nodes.map(node => new NodesCard(node.name));
      this._list.replaceChildren(...this._cards.map(card => card.node));
    }
    nodes.forEach((node, place) => this._cards[place]?.show(node));
    setText(this._count, String(nodes.length));
    this._notice.say(found?.ended ?? null);
  }
}
