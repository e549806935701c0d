import { Card, type ICardText } from './card';
import type { IChartData } from './chart';
import { cpuLimit, memoryLimit, percent, share, usedOfTotal } from './format';
import type { IHost } from './frames';
import type { IRow } from './history';
import type { IPalette } from './palette';

const CPU =
  'Processor time that this job uses, as a share of all the cores it may use: 100 % is every one of them.';
const MEMORY = 'Main memory that this job uses, and how much it may use before the system ends it.';

function hostAt(row: IRow): IHost | null {
  return row.sample?.host.data ?? null;
}

/** CPU and main memory of the job, against the job's own limits. */
export class HostCard extends Card {
  constructor(palette: () => IPalette) {
    super(
      {
        title: 'CPU and main memory',
        busy: 'CPU',
        busyMeaning: CPU,
        memory: 'Memory',
        memoryMeaning: MEMORY
      },
      palette
    );
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

  protected fault(newest: IRow): string | null {
    return newest.sample?.host.error ?? null;
  }
}
