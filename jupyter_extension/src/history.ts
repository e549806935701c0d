import type { IGpu, ISample } from './frames';

/** A moment on the time axis; `sample` is null where nothing was measured, so that no line is drawn across. */
export interface IRow {
  time: number;
  sample: ISample | null;
}

/** Missing this many samples in a row is a hole in the data, not jitter. */
const GAP_INTERVALS = 4;

/** The samples of the last ten minutes, oldest first. Keeps what it has when the stream breaks. */
export class History {
  private _samples: ISample[] = [];
  private _hz = 1;
  windowSeconds = 600;

  /** Samples per second of the stream: how far apart two may lie before there is a gap. */
  set hz(hz: number) {
    this._hz = hz;
  }

  get latest(): ISample | null {
    return this._samples.at(-1) ?? null;
  }

  /** Add one sample; one that is not newer than the last is a repetition and changes nothing. */
  add(sample: ISample): void {
    const last = this.latest;
    if (last === null || sample.time > last.time) {
      this._samples.push(sample);
      this._trim();
    }
  }

  /** Take the server's past; what the server no longer knows (it was restarted) stays. */
  merge(past: ISample[]): void {
    const first = past[0];
    if (first !== undefined) {
      this._samples = [...this._samples.filter(sample => sample.time < first.time), ...past];
      this._trim();
    }
  }

  /** The time axis: every sample, and an empty row inside each gap. */
  rows(): IRow[] {
    const gapSeconds = GAP_INTERVALS / this._hz;
    const rows: IRow[] = [];
    let before: ISample | null = null;
    for (const sample of this._samples) {
      if (before !== null && sample.time - before.time > gapSeconds) {
        rows.push({ time: (before.time + sample.time) / 2, sample: null });
      }
      rows.push({ time: sample.time, sample });
      before = sample;
    }
    return rows;
  }

  private _trim(): void {
    const oldest = (this.latest?.time ?? 0) - this.windowSeconds;
    const keep = this._samples.findIndex(sample => sample.time >= oldest);
    if (keep > 0) {
      this._samples.splice(0, keep);
    }
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
