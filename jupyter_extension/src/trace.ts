/** A trace as `workshop record` and the panel write it, read line by line; what cannot be read is counted. */

import {
  isFields,
  numberOrNull,
  readFrame,
  STREAM_VERSION,
  textOrNull,
  type ISample,
  type IWarning,
  type Owners
} from './frames';

/** What a Date holds, in seconds before and after 1970. */
const LAST_TIME = 8.64e12;
/** A sample that lies further than this from all around it has a wrong time. */
const FAR_SECONDS = 7 * 24 * 3600;

/** What was said before a sample and held from it on. */
export interface ISaid {
  owners: Owners;
  warnings: IWarning[];
  /** What decode loops reported, as the stream sends it. */
  tokens: unknown;
}

export interface IMark {
  /** Seconds since 1970. */
  time: number;
  text: string;
}

export interface ITrace {
  /** When it was recorded, in seconds since 1970. */
  date: number;
  hardware: string[];
  command: string | null;
  versions: string[];
  hz: number;
  samples: ISample[];
  /** For each sample. */
  said: ISaid[];
  /** The newest plan, as the stream sends it. */
  plan: unknown;
  marks: IMark[];
  /** Lines in the middle that could not be read. */
  skipped: number;
  /** Whether the end line is missing. */
  cutOff: boolean;
}

/** Thrown for what is no trace; the message is one sentence for the reader. */
export class TraceError extends Error {}

/** Read a whole trace; TraceError where there is none to show. */
export function readTrace(text: string, name: string): ITrace {
  const lines = text.split('\n').filter(line => line.trim() !== '');
  const header = parsed(lines[0] ?? '');
  if (!isFields(header) || header.kind !== 'trace') {
    throw new TraceError(
      `${name} is no GPU recording: it does not begin with the header that “workshop record” and the Record button write.`
    );
  }
  if (header.version !== STREAM_VERSION) {
    throw new TraceError(
      `${name} is a recording of version ${String(header.version)} and this panel reads version ${STREAM_VERSION}; ` +
        'record it anew, or update the workshop.'
    );
  }
  const trace = headed(header);
  const collector = new Collector(trace);
  lines.slice(1).forEach((line, at) => collector.take(parsed(line), at === lines.length - 2));
  keepPlausible(trace);
  const first = trace.samples[0];
  if (first === undefined) {
    throw new TraceError(`${name} is a GPU recording without a sample that can be read; record it anew.`);
  }
  trace.date ||= first.time;
  return trace;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function timeOrNull(value: unknown): number | null {
  const time = numberOrNull(value);
  return time === null || Math.abs(time) > LAST_TIME ? null : time;
}

function headed(header: Record<string, unknown>): ITrace {
  const { hardware, command, versions } = header;
  const dated = Date.parse(textOrNull(header.date) ?? '') / 1000;
  const hz = numberOrNull(header.hz) ?? 1;
  return {
    date: Number.isNaN(dated) ? (timeOrNull(header.time) ?? 0) : dated,
    hardware: Array.isArray(hardware) ? hardware.map(String) : [],
    command: Array.isArray(command) ? command.map(String).join(' ') : textOrNull(command),
    versions: isFields(versions) ? Object.entries(versions).map(([name, of]) => `${name} ${String(of)}`) : [],
    hz: hz > 0 ? hz : 1,
    samples: [],
    said: [],
    plan: null,
    marks: [],
    skipped: 0,
    cutOff: true
  };
}

/** Sorts the lines behind the header into a trace. */
class Collector {
  private _said: ISaid = { owners: new Map(), warnings: [], tokens: null };

  constructor(private readonly _trace: ITrace) {}

  take(value: unknown, isLast: boolean): void {
    const trace = this._trace;
    if (isFields(value) && value.kind === 'end') {
      trace.cutOff = false;
    } else if (isFields(value) && value.kind === 'mark') {
      const time = timeOrNull(value.time);
      if (time === null) {
        trace.skipped += 1;
      } else {
        trace.marks.push({ time, text: textOrNull(value.text) ?? '' });
      }
    } else if (value === undefined && isLast) {
      trace.cutOff = true; // a recording that was killed in the middle of a line
    } else if (!this._frame(value)) {
      trace.skipped += 1;
    }
  }

  /** Take a frame of the stream; false where it is none, or of no time. */
  private _frame(value: unknown): boolean {
    try {
      const frame = readFrame(value);
      if (frame.kind === 'sample') {
        return this._sample(frame.sample);
      }
      if (frame.kind === 'owners') {
        this._said = { ...this._said, owners: frame.owners };
      } else if (frame.kind === 'warnings') {
        this._said = { ...this._said, warnings: frame.warnings };
      } else if (frame.kind === 'tokens') {
        this._said = { ...this._said, tokens: frame.tokens };
      } else if (frame.kind === 'plan') {
        this._trace.plan = frame.plan ?? this._trace.plan;
      }
      return true;
    } catch {
      return false;
    }
  }

  private _sample(sample: ISample): boolean {
    const isTimed = timeOrNull(sample.time) !== null;
    if (isTimed) {
      this._trace.samples.push(sample);
      this._trace.said.push(this._said);
    }
    return isTimed;
  }
}

/** Leave out samples that are no newer than the one before, and first those that lie far from all around them. */
function keepPlausible(trace: ITrace): void {
  const { samples, said } = trace;
  trace.samples = [];
  trace.said = [];
  const plausible = samples.filter((sample, at) =>
    isNear(sample, samples.slice(Math.max(0, at - 2), at + 3))
  );
  const kept = new Set(plausible.length > 0 ? plausible : samples);
  for (const [at, sample] of samples.entries()) {
    const before = trace.samples.at(-1);
    if (kept.has(sample) && (before === undefined || sample.time > before.time)) {
      trace.samples.push(sample);
      trace.said.push(said[at]!);
    } else {
      trace.skipped += 1;
    }
  }
}

/** Whether another of these samples is from about the same time. */
function isNear(sample: ISample, around: ISample[]): boolean {
  return around.some(each => each !== sample && Math.abs(each.time - sample.time) < FAR_SECONDS);
}

/** What of the file is missing, in one sentence each; null where it is whole. */
export function damageText({ cutOff, skipped }: Pick<ITrace, 'cutOff' | 'skipped'>): string | null {
  const sentences = [
    cutOff ? 'The recording was cut off: it has no end, and this is what there is.' : '',
    skipped === 0 ? '' : `${skipped} ${skipped === 1 ? 'line' : 'lines'} that cannot be read left out.`
  ];
  return sentences.filter(each => each !== '').join(' ') || null;
}

/** `2 × NVIDIA H100 80GB HBM3, CPU …`. */
export function hardwareText(hardware: string[]): string {
  const counts = new Map<string, number>();
  hardware.forEach(name => counts.set(name, (counts.get(name) ?? 0) + 1));
  const each = [...counts].map(([name, count]) => (count === 1 ? name : `${count} × ${name}`));
  return each.join(', ') || 'unknown hardware';
}

/** The place of the last of these times that is not after `time`; 0 where all are. */
export function placeAt(times: number[], time: number): number {
  let [low, high] = [0, times.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? Infinity) <= time) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}
