import '../style/panel.css';
import { element, setText } from './dom';
import type { ISample, Owners } from './frames';
import { GpuCard } from './gpuCard';
import { gpusSeen, type IRow } from './history';
import { HostCard } from './hostCard';
import { Notice } from './notice';
import { readPalette, type IPalette } from './palette';
import type { IPlan } from './plan';
import type { ITimeline } from './timeline';

/** What is drawn beside the rows. */
export interface IBoardData {
  owners: Owners;
  plan: IPlan | null;
  windowSeconds: number;
  gpuCharts: boolean;
  jobChart: boolean;
}

/** A card for each GPU and one for the job: the same for a live machine and for a recording. */
export class Board {
  readonly node = element('div', 'wm-board');
  private readonly _gpuCards = new Map<number, GpuCard>();
  private readonly _hostCard: HostCard;
  private readonly _gpuList = element('div', 'wm-list');
  private readonly _count = element('span', 'wm-count');
  private readonly _gpuNotice = new Notice('wm-notice-gpus');
  private _palette: IPalette | null = null;

  /** `job` is the heading of the job’s card. */
  constructor(
    private readonly _timeline: ITimeline,
    job: string
  ) {
    this._hostCard = new HostCard(this._colours, _timeline);
    const heading = element('h2', 'wm-heading', 'GPUs');
    heading.append(this._count);
    const list = element('div', 'wm-list');
    list.append(this._hostCard.node);
    this.node.append(heading, this._gpuNotice.node, this._gpuList, element('h2', 'wm-heading', job), list);
  }

  /** Draw these rows; the readings are those of the newest. */
  draw(rows: IRow[], data: IBoardData): void {
    this._drawGpus(rows, data);
    this._say(rows.at(-1)?.sample ?? null);
    this._hostCard.chartShown = data.jobChart;
    this._hostCard.draw(rows, data.windowSeconds);
  }

  /** Show the readings of one of the rows that were drawn, and a line in each chart at its moment. */
  move(rows: IRow[], at: number, time: number, owners: Owners): void {
    this._say(rows[at]?.sample ?? null);
    for (const card of this._gpuCards.values()) {
      card.owners = owners;
      card.move(at, time);
    }
    this._hostCard.move(at, time);
  }

  /** Take the colours of a new theme. */
  recolour(): void {
    this._palette = null;
    this._hostCard.recolour();
    this._gpuCards.forEach(card => card.recolour());
  }

  dispose(): void {
    this._hostCard.dispose();
    this._gpuCards.forEach(card => card.dispose());
  }

  private readonly _colours = (): IPalette => (this._palette ??= readPalette());

  private _say(sample: ISample | null): void {
    const none = sample?.gpus.data?.length === 0 ? 'This machine has no GPU.' : null;
    this._gpuNotice.say(sample?.gpus.error ?? none);
  }

  private _drawGpus(rows: IRow[], { owners, plan, gpuCharts, windowSeconds }: IBoardData): void {
    const seen = gpusSeen(rows);
    setText(this._count, seen.length > 0 ? String(seen.length) : '');
    for (const [index, card] of this._gpuCards) {
      if (!seen.some(gpu => gpu.index === index)) {
        card.dispose();
        this._gpuCards.delete(index);
      }
    }
    for (const gpu of seen) {
      let card = this._gpuCards.get(gpu.index);
      if (card === undefined) {
        card = new GpuCard(gpu.index, this._colours, this._timeline);
        this._gpuCards.set(gpu.index, card);
        this._gpuList.append(...seen.flatMap(each => this._gpuCards.get(each.index)?.node ?? []));
      }
      // Words first, which a narrow panel does not cut off.
      card.subtitle = gpu.mine ? gpu.name : `not in this job · ${gpu.name}`;
      card.node.classList.toggle('wm-not-mine', !gpu.mine);
      card.owners = owners;
      card.plan = plan;
      card.chartShown = gpuCharts;
      card.draw(rows, windowSeconds);
    }
  }
}
