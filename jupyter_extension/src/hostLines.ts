import type { ILine } from './details';
import { hourMinute, timeLeft, twoWays } from './format';
import type { IHost } from './frames';

/** The host, and when it was so: a recording is not of now. */
export interface IHostMoment extends IHost {
  /** Seconds since 1970. */
  time: number;
}

/** What there is to say of the host beside CPU and memory. */
export const HOST_LINES: ILine<IHostMoment>[] = [
  {
    name: 'Disk read, write',
    meaning: 'Bytes a second of this machine’s own disks; a file server counts as network.',
    field: 'disk_read_bytes_per_s',
    text: host => twoWays(host.diskRead, host.diskWrite)
  },
  {
    name: 'Network out, in',
    meaning: 'Bytes a second of the whole machine, without what it says to itself.',
    field: 'network_send_bytes_per_s',
    text: host => twoWays(host.networkOut, host.networkIn)
  },
  {
    name: 'Job ends',
    meaning: 'When Slurm ends this job; what runs then is lost.',
    field: 'job_ends_at',
    text: host =>
      host.jobEndsAt === null
        ? 'no time limit known'
        : `${hourMinute(host.jobEndsAt)}, ${timeLeft(host.jobEndsAt - host.time)}`
  }
];
