import type { Feed } from './feed';
import { isFields, listOf, STREAM_VERSION, textOrNull, type Frame, type IHost } from './frames';

/** What one recording may hold: a browser keeps it in memory until it is saved. */
export interface ILimits {
  bytes: number;
  seconds: number;
}

const LIMITS: ILimits = { bytes: 48e6, seconds: 3600 };

/** The server remembers one sample a second, so that the newest that was seen may be this far ahead of them. */
const AHEAD_SECONDS = 2;

/** Kinds of the stream that stand in a recording as they came. */
const KEPT = new Set<Frame['kind']>(['sample', 'owners', 'warnings', 'plan', 'tokens']);

/**
 * Collects what the stream says into the lines of a trace, as `workshop record` writes them. While the socket is
 * away nothing comes, so a gap stays a gap; what the server remembers of it is taken when the socket is back. Its
 * times never go back: when the server's clock is set back, all that follows is moved on by as much.
 */
export class Recorder {
  private readonly _lines: string[] = [];
  private _bytes = 0;
  private _samples = 0;
  /** When the newest sample was taken, by the server's clock. */
  private _last: number;
  private _movedSeconds = 0;
  private readonly _began: number;

  /**
   * Begin now; `lab` is JupyterLab’s version, `now` the time in seconds since 1970. `onFull` is told once, in a
   * sentence, when a limit is reached.
   */
  constructor(
    private readonly _feed: Pick<
      Feed,
      'history' | 'owners' | 'warnings' | 'plan' | 'tokens' | 'machine' | 'settings' | 'tap'
    >,
    lab: string,
    private readonly _now: () => number,
    private readonly _onFull: (sentence: string) => void,
    private readonly _limits = LIMITS
  ) {
    this._began = _now();
    this._last = _feed.history.latest?.time ?? 0;
    this._add({ version: STREAM_VERSION, kind: 'trace', ...headerOf(_feed, lab, this._began) });
    // The stream tells these only when they change, so what held before is told here.
    this._say(
      'owners',
      [..._feed.owners].map(([pid, owner]) => ({ pid, ...owner }))
    );
    this._say('warnings', _feed.warnings);
    this._say('plan', _feed.plan);
    this._say('tokens', _feed.tokens);
    _feed.tap = (frame, text) => this._take(frame, text);
  }

  get samples(): number {
    return this._samples;
  }

  /** How long it has been going on. */
  get seconds(): number {
    return this._now() - this._began;
  }

  /** Take nothing more, and return the whole trace. */
  stop(): string {
    this._feed.tap = null;
    this._add({ kind: 'end', time: Math.max(this._now(), this._last + this._movedSeconds) });
    return `${this._lines.join('\n')}\n`;
  }

  private _take(frame: Frame, text: string): void {
    if (frame.kind === 'hello') {
      // A server tells a new client nothing of what is empty.
      this._say('owners', []);
      this._say('warnings', []);
      this._say('plan', null);
      this._say('tokens', null);
    } else if (frame.kind === 'history') {
      this._fill(text);
    } else if (frame.kind === 'sample') {
      this._sample(frame.sample.time, text);
    } else if (KEPT.has(frame.kind)) {
      this._line(text);
    }
    if (this._bytes >= this._limits.bytes || this.seconds >= this._limits.seconds) {
      this._feed.tap = null;
      const { bytes, seconds } = this._limits;
      const limit = this._bytes >= bytes ? `at ${bytes / 1e6} MB` : `after ${seconds / 60} minutes`;
      this._onFull(`It stopped by itself ${limit}.`);
    }
  }

  /** After a reconnect: what the server measured in between. */
  private _fill(text: string): void {
    const { samples } = JSON.parse(text) as { samples: unknown };
    const past = listOf(samples).map(sample => ({ ...sample, time: Number(sample.time) }));
    for (const sample of past.slice(newsAt(past, this._last))) {
      this._sample(sample.time, JSON.stringify(sample));
    }
  }

  private _sample(time: number, line: string): void {
    if (time === this._last) {
      return;
    }
    if (time < this._last) {
      this._movedSeconds += this._last - time + 1 / this._feed.settings.rate;
    }
    this._last = time;
    this._samples += 1;
    const moved = this._movedSeconds;
    this._line(moved === 0 ? line : JSON.stringify({ ...JSON.parse(line), time: time + moved }));
  }

  private _say(kind: string, value: unknown): void {
    this._add({ version: STREAM_VERSION, kind, [kind]: value });
  }

  private _add(line: object): void {
    this._line(JSON.stringify(line));
  }

  private _line(line: string): void {
    this._lines.push(line);
    this._bytes += line.length + 1;
  }
}

/**
 * Where in the server's past the news begins: behind the sample that was taken last, by its nearest neighbour since the
 * clock may have been set back at any time. A server that began anew with an earlier clock has news only.
 */
function newsAt(past: { time: number }[], last: number): number {
  const distances = past.map(({ time }) => Math.abs(last - time));
  const nearest = distances.lastIndexOf(Math.min(...distances));
  const ahead = last - (past[nearest]?.time ?? last);
  return ahead < 0 ? nearest : ahead < AHEAD_SECONDS ? nearest + 1 : 0;
}

/** What `workshop record` writes about where a trace comes from, as far as the panel knows it. */
function headerOf(feed: Pick<Feed, 'history' | 'machine' | 'settings'>, lab: string, began: number): object {
  const { history, machine, settings } = feed;
  const told = isFields(machine) ? machine : {};
  const gpus = history.latest?.gpus.data?.map(gpu => gpu.name) ?? [];
  return {
    time: began,
    hz: settings.rate,
    command: null,
    date: new Date(began * 1000).toISOString(),
    hardware: [...gpus, textOrNull(told.cpu) ?? cpuOf(history.latest?.host.data ?? null)],
    versions: { ...(isFields(told.versions) ? told.versions : {}), jupyterlab: lab }
  };
}

function cpuOf(host: IHost | null): string {
  return host?.machineCpuCores ? `CPU, ${host.machineCpuCores} cores` : 'CPU';
}
