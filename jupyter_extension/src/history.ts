import type { IGpu, ISample } from './frames';

/** A moment on the time axis; `sample` is null where nothing was measured, so that no line is drawn across. */
export interface IRow {
  time: number;
  sample: ISample | null;
}

/** Missing this many samples in a row is a hole in the data, not jitter; the server’s past has one a second. */
const GAP_INTERVALS = 4;

/** The server remembers one sample a second, so that the newest that was seen may be this far ahead of them. */
const AHEAD_SECONDS = 2;

/**
 * The samples of the last ten minutes, oldest first. Keeps what it has when the stream breaks, and when the clock is
 * set back: what was sampled before then moves to before the new time.
 */
export class History {
  private _held: ISample[] = [];
  windowSeconds = 600;
  /** Samples per second of the stream: how far apart two may lie before there is a gap. */
  hz = 1;

  get latest(): ISample | null {
    return this._held.at(-1) ?? null;
  }

  /** Add one sample; the one that came last is a repetition and changes nothing. */
  add(sample: ISample): void {
    const ahead = (this.latest?.time ?? -Infinity) - sample.time;
    if (ahead !== 0) {
      if (ahead > 0) {
        setBack(this._held, ahead + 1 / this.hz);
      }
      this._held.push(sample);
      this._trim();
    }
  }

  /** Take the server's past; what the server no longer knows (it was restarted) stays. */
  merge(past: ISample[]): void {
    const first = past[0];
    if (first !== undefined) {
      const { time } = first;
      const held = this._held;
      const last = this.latest?.time ?? 0;
      this._held = [];
      past.forEach(sample => this.add(sample));
      if (last - this.latest!.time > AHEAD_SECONDS) {
        // The clock was set back while the socket was away: as the server saw it, else it began anew since.
        setBack(held, time - first.time || last - time + 1 / this.hz);
      }
      this._held.unshift(...held.filter(sample => sample.time < this._held[0]!.time));
      this._trim();
    }
  }

  /** The time axis: every sample, and an empty row inside each gap. */
  rows(): IRow[] {
    const gapSeconds = GAP_INTERVALS / Math.min(this.hz, 1);
    const rows: IRow[] = [];
    let before = Infinity;
    for (const sample of this._held) {
      const { time } = sample;
      if (time - before > gapSeconds) {
        rows.push({ time: (before + time) / 2, sample: null });
      }
      rows.push({ time, sample });
      before = time;
    }
    return rows;
  }

  private _trim(): void {
    const oldest = this.latest!.time - this.windowSeconds;
    this._held.splice(
      0,
      this._held.findIndex(sample => sample.time >= oldest)
    );
  }
}

function setBack(samples: ISample[], seconds: number): void {
  for (const sample of samples) {
    sample.time -= seconds;
  }
}

/** The GPU with this index in this row, if it was seen then. */
export function gpuAt(row: IRow | undefined, index: number): IGpu | null {
  return row?.sample?.gpus.data?.find(gpu => gpu.index === index) ?? null;
}

/** Every GPU seen in these rows by its latest appearance, in the order of the driver's index. */
export function gpusSeen(rows: IRow[]): IGpu[] {
  const seen = new Map<number, IGpu>();
  for (const row of rows) {
    for (const gpu of row.sample?.gpus.data ?? []) {
      seen.set(gpu.index, gpu);
    }
  }
  return [...seen.values()].sort((a, b) => a.index - b.index);
}
