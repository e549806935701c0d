import { Card, type ICardText } from './card';
import type { IChartData } from './chart';
import { Details } from './details';
import { share } from './format';
import { percent, usedOfTotal } from './memory';
import { gpuAt, type IRow } from './history';
import type { Owners } from './frames';
import type { IGpuMoment } from './gpuLines';
import type { IPalette } from './palette';
import { plannedBytes, type IPlan, type IPlannedTerm } from './plan';
import { PlanBar } from './planBar';
import type { ITimeline } from './timeline';

// https://docs.nvidia.com/deploy/nvml-api/structnvmlUtilization__t.html
const UTILIZATION =
  'The share of the last moments in which at least one kernel ran on this GPU. ' +
  '100 % does not mean that all of the GPU was busy.';
const MEMORY =
  'All memory in use on this GPU, by every process and the driver. 1 GiB is 1024³ bytes, 1 GB is 1000³ bytes.';

/** Utilisation and memory of one GPU, and on demand all else that its driver says. */
export class GpuCard extends Card {
  private readonly _details: Details<IGpuMoment>;
  /** Whose the programs are, from the next drawing on. */
  owners: Owners = new Map();
  /** What was planned for all GPUs, from the next drawing on. */
  plan: IPlan | null = null;
  private readonly _planBar = new PlanBar();

  constructor(
    private readonly _index: number,
    palette: () => IPalette,
    timeline: ITimeline
  ) {
    super(
      {
        title: `GPU ${_index}`,
        busy: 'Utilisation',
        busyMeaning: UTILIZATION,
        memory: 'Memory',
        memoryMeaning: MEMORY
      },
      palette,
      timeline
    );
    this._details = new Details(`GPU ${_index}`, async () => (await import('./gpuLines')).GPU_LINES);
    this.folds.before(this._planBar.node);
    this.folds.prepend(this._details.node);
  }

  protected override showMore(row: IRow): void {
    const gpu = gpuAt(row, this._index);
    const held = gpu?.throttleReasons?.join(', ') ?? '';
    this._planBar.show(this.plan?.title ?? '', this._planned, gpu?.memoryUsedBytes ?? null);
    const moment = gpu?.fault === null ? { ...gpu, owners: this.owners } : null;
    this._details.show(moment, held && `held back: ${held}`);
  }

  /** Rank 0 stands on GPU 0, and so on. */
  private get _planned(): IPlannedTerm[] | null {
    return this.plan?.gpus[this._index] ?? null;
  }

  protected columns(rows: IRow[]): IChartData {
    const gpus = rows.map(row => gpuAt(row, this._index));
    const total = gpus.at(-1)?.memoryTotalBytes ?? null;
    return {
      times: rows.map(row => row.time),
      busy: gpus.map(gpu => gpu?.utilizationPercent ?? null),
      memory: gpus.map(gpu => (gpu === null ? null : share(gpu.memoryUsedBytes, gpu.memoryTotalBytes))),
      planned: this._planned && share(plannedBytes(this._planned), total)
    };
  }

  protected describe(row: IRow): ICardText {
    const gpu = gpuAt(row, this._index);
    if (gpu === null || gpu.fault !== null) {
      return { busy: '–', busyNote: '', memory: '–', memoryNote: '' };
    }
    return {
      busy: percent(gpu.utilizationPercent),
      busyNote: gpu.notReported.utilization_percent ?? '',
      memory: usedOfTotal(gpu.memoryUsedBytes, gpu.memoryTotalBytes),
      memoryNote: gpu.notReported.memory_used_bytes ?? ''
    };
  }

  protected fault(shown: IRow): string | null {
    if (shown.sample?.gpus.error) {
      return 'No figures now; the reason is at the top.';
    }
    const gpu = gpuAt(shown, this._index);
    return gpu === null ? 'The driver no longer lists this GPU.' : gpu.fault;
  }
}
