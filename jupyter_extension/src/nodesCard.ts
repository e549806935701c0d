import { element, setText } from './dom';
import { share } from './format';
import { percent, usedOfTotal } from './memory';
import { modelsOf, type INode, type INodeGpu, type INodeHost } from './nodes';
import { NodesRow } from './nodesRow';

export const NOT_MINE = 'not in this job';
const NOTHING = { text: '–', percent: null };
let cards = 0;

/** One other node: a line for each of its GPUs and one for the job’s CPU and main memory there. */
export class NodesCard {
  readonly node = element('section', 'wm-card');
  private readonly _subtitle = element('span', 'wm-card-subtitle');
  private readonly _fault = element('p', 'wm-fault');
  private readonly _table = element('table', 'wm-nodes-table');
  private readonly _body = element('tbody', '');
  private readonly _gpus = new Map<number, NodesRow>();
  private readonly _host = new NodesRow('CPU, RAM');

  constructor(readonly name: string) {
    const heading = element('h3', 'wm-card-heading');
    heading.id = `wm-nodes-${cards++}`;
    heading.append(element('span', 'wm-card-title', name), ' ', this._subtitle);
    const head = element('tr', '');
    head.append(element('td', ''));
    for (const title of ['Utilisation (minute)', 'Memory']) {
      const cell = element('th', '', title);
      cell.scope = 'col';
      head.append(cell);
    }
    const above = element('thead', '');
    above.append(head);
    this._table.append(above, this._body);
    this._table.setAttribute('aria-labelledby', heading.id);
    this.node.setAttribute('aria-labelledby', heading.id);
    this.node.append(heading, this._fault, this._table);
  }

  /** Show the node’s last reading; one that is old is set back, and says so. */
  show({ gpus, host, isLive, sentences }: INode): void {
    setText(this._subtitle, modelsOf(gpus));
    this._subtitle.title = modelsOf(gpus);
    this._fault.hidden = sentences.length === 0;
    setText(this._fault, sentences.join(' '));
    this._table.hidden = gpus.length === 0 && host === null;
    this._table.classList.toggle('wm-is-dim', !isLive);
    this._drop(gpus);
    for (const gpu of gpus) {
      this._rowOf(gpu.index).show(...gpuCells(gpu), asideOf(gpu), gpu.mine === false);
    }
    this._host.show(...hostCells(host), '', false);
    this._body.append(...gpus.map(gpu => this._rowOf(gpu.index).node), this._host.node);
  }

  private _rowOf(index: number): NodesRow {
    const row = this._gpus.get(index) ?? new NodesRow(`GPU ${index}`);
    this._gpus.set(index, row);
    return row;
  }

  private _drop(gpus: INodeGpu[]): void {
    for (const [index, row] of this._gpus) {
      if (!gpus.some(gpu => gpu.index === index)) {
        row.node.remove();
        this._gpus.delete(index);
      }
    }
  }
}

type Cells = [Parameters<NodesRow['show']>[0], Parameters<NodesRow['show']>[1]];

function gpuCells(gpu: INodeGpu): Cells {
  if (gpu.fault !== null) {
    return [NOTHING, NOTHING];
  }
  const { utilizationPercent, meanPercent, memoryUsedBytes, memoryTotalBytes } = gpu;
  const mean = meanPercent === null ? '' : ` (${percent(meanPercent)})`;
  return [
    { text: percent(utilizationPercent) + mean, percent: utilizationPercent },
    {
      text: usedOfTotal(memoryUsedBytes, memoryTotalBytes),
      percent: share(memoryUsedBytes, memoryTotalBytes)
    }
  ];
}

function asideOf(gpu: INodeGpu): string {
  return [gpu.fault, gpu.mine === false ? NOT_MINE : null].filter(each => each !== null).join(' ');
}

function hostCells(host: INodeHost | null): Cells {
  if (host === null) {
    return [NOTHING, NOTHING];
  }
  const { cpuPercent, cpuLimitCores, memoryUsedBytes, memoryLimitBytes } = host;
  const cores = cpuLimitCores === null || cpuPercent === null ? '' : ` of ${+cpuLimitCores.toFixed(1)} cores`;
  return [
    { text: percent(cpuPercent) + cores, percent: cpuPercent },
    {
      text: usedOfTotal(memoryUsedBytes, memoryLimitBytes),
      percent: share(memoryUsedBytes, memoryLimitBytes)
    }
  ];
}
