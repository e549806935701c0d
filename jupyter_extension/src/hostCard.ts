import { Card, type ICardText } from './card';
import type { IChartData } from './chart';
import { Details } from './details';
import { cpuLimit, memoryLimit, share } from './format';
import { percent, usedOfTotal } from './memory';
import type { IHost } from './frames';
import type { IRow } from './history';
import type { IHostMoment } from './hostLines';
import type { IPalette } from './palette';
import type { ITimeline } from './timeline';

const CPU =
  'Processor time that this job uses, as a share of all the cores it may use: 100 % is every one of them.';
const MEMORY = 'Main memory that this job uses, and how much it may use before the system ends it.';

function hostAt(row: IRow): IHost | null {
  return row.sample?.host.data ?? null;
}

/** CPU and main memory of the job, against the job's own limits. */
export class HostCard extends Card {
  private readonly _details: Details<IHostMoment>;

  constructor(palette: () => IPalette, timeline: ITimeline) {
    super(
      {
        title: 'CPU and main memory',
        busy: 'CPU',
        busyMeaning: CPU,
        memory: 'Memory',
        memoryMeaning: MEMORY
      },
      palette,
      timeline
    );
    this._details = new Details('this job', async () => (await import('./hostLines')).HOST_LINES);
    this.folds.prepend(this._details.node);
  }

  protected override showMore(row: IRow): void {
    const host = hostAt(row);
    this._details.show(host && { ...host, time: row.time });
  }

  protected columns(rows: IRow[]): IChartData {
    const hosts = rows.map(hostAt);
    return {
      times: rows.map(row => row.time),
      busy: hosts.map(host => host?.cpuPercent ?? null),
      memory: hosts.map(host => (host === null ? null : share(host.memoryUsedBytes, host.memoryLimitBytes)))
    };
  }

  protected describe(row: IRow): ICardText {
    const host = hostAt(row);
    if (host === null) {
      return { busy: '–', busyNote: '', memory: '–', memoryNote: '' };
    }
    return {
      busy: percent(host.cpuPercent),
      busyNote: cpuLimit(host),
      memory: usedOfTotal(host.memoryUsedBytes, host.memoryLimitBytes),
      memoryNote: memoryLimit(host)
    };
  }

  protected fault(shown: IRow): string | null {
    return shown.sample?.host.error ?? null;
  }
}
