import uPlot from 'uplot';
import { element } from './dom';
import type { IPalette } from './palette';
import { pixelsApart, windowOf, type ITimeline } from './timeline';

/** What one chart draws: seconds since 1970, and two lines in percent; null breaks a line. */
export interface IChartData {
  times: number[];
  busy: (number | null)[];
  memory: (number | null)[];
  /** Memory as it was planned, a dashed line; beyond the whole it stands at the top. */
  planned?: number | null;
}

/** Room for “100%” left of the plot, in CSS pixels. */
const Y_AXIS_WIDTH = 36;
const X_AXIS_HEIGHT = 18;
/** More labels than fit: a window of absurd times would have no end of them. */
const MOST_SPLITS = 99;
/** Half a time label: the last one may stand at the right edge. */
const RIGHT_PADDING = 18;

/**
 * Two lines in percent. The window ends at the newest sample, grows with the data and then rolls; that of a
 * recording holds all of it, with a line at the moment that is shown.
 */
export class Chart {
  readonly node: HTMLElement;
  private readonly _plot: uPlot;
  private readonly _resize: ResizeObserver;
  private readonly _sight: IntersectionObserver;
  private _inView = false;
  private _seconds = 600;
  private _planned: number | null = null;
  private _position: number | null = null;
  private readonly _marker = element('div', 'wm-position');

  /** `onHover` is given the time under the pointer, or null when it leaves. */
  constructor(
    node: HTMLElement,
    private readonly _palette: () => IPalette,
    private readonly _timeline: ITimeline,
    onHover: (time: number | null) => void
  ) {
    this.node = node;
    this._plot = new uPlot(this._options(onHover), [[], [], []], node);
    this._marker.hidden = true;
    this._plot.over.append(this._marker);
    this._resize = new ResizeObserver(() => {
      const width = node.clientWidth;
      if (width > 0 && width !== this._plot.width) {
        this._plot.setSize({ width, height: _timeline.height });
      }
    });
    this._resize.observe(node);
    this._sight = new IntersectionObserver(seen => {
      this._inView = seen.at(-1)!.isIntersecting;
      this._plot.setData(this._plot.data, this._inView);
    });
    this._sight.observe(node);
  }

  /** Drawn now if it is in view, else when it comes into view; not if it would move by less than a pixel. */
  draw({ times, busy, memory, planned = null }: IChartData, windowSeconds: number): void {
    const { bbox, scales } = this._plot;
    const { min, max } = scales.x!;
    this._seconds = windowSeconds;
    const next = this._window(times[0], times.at(-1));
    const still = planned === this._planned && pixelsApart([min!, max!], next, bbox.width) < 1;
    this._planned = planned;
    this._plot.setData([times, busy, memory], this._inView && !still);
  }

  /** Draw a line at the moment that is shown; null for none. */
  set position(time: number | null) {
    this._position = time;
    this._place();
  }

  /** Draw again in the colours of a new theme. */
  recolour(): void {
    this._plot.redraw(false, true);
  }

  dispose(): void {
    this._resize.disconnect();
    this._sight.disconnect();
    this._plot.destroy();
  }

  private _options(onHover: (time: number | null) => void): uPlot.Options {
    const [palette, timeline] = [this._palette, this._timeline];
    const grid = { stroke: () => palette().grid, width: 1 };
    const axis = { stroke: () => palette().text, font: palette().font, ticks: { show: false }, grid };
    return {
      width: this.node.clientWidth || 200,
      height: timeline.height,
      padding: [6, RIGHT_PADDING, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, setScale: false },
        sync: { key: timeline.key },
        points: { size: 5 }
      },
      scales: {
        x: { time: true, range: (_plot, min, max) => this._window(min, max) },
        y: { range: [0, 100] }
      },
      axes: [
        {
          ...axis,
          size: X_AXIS_HEIGHT,
          gap: 3,
          space: 48,
          incrs: timeline.steps,
          splits: (_plot, _axis, min, max, step) => splitsOf(min, max, step, timeline.origin),
          values: (_plot, splits) => splits.map(timeline.label)
        },
        {
          ...axis,
          size: Y_AXIS_WIDTH,
          gap: 4,
          splits: () => [0, 50, 100],
          values: (_plot, splits) => splits.map(y => `${y}%`)
        }
      ],
      series: [{}, this._line(() => palette().busy, true), this._line(() => palette().memory, false)],
      hooks: {
        setCursor: [({ cursor, data }) => onHover(data[0][cursor.idx ?? -1] ?? null)],
        draw: [plot => this._drawPlanned(plot), () => this._place()]
      }
    };
  }

  /** An element over the canvas: moving it draws no chart again. */
  private _place(): void {
    const time = this._position;
    this._marker.hidden = time === null;
    if (time !== null) {
      this._marker.style.transform = `translateX(${this._plot.valToPos(time, 'x')}px)`;
    }
  }

  private _drawPlanned(plot: uPlot): void {
    if (this._planned === null) {
      return;
    }
    const { ctx, bbox } = plot;
    const pixel = devicePixelRatio;
    const y = Math.round(plot.valToPos(Math.min(this._planned, 100), 'y', true));
    ctx.save();
    ctx.strokeStyle = this._palette().memory;
    ctx.lineWidth = 2 * pixel;
    ctx.setLineDash([4 * pixel, 3 * pixel]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  /** Utilisation jumps, memory steps: an area for the one and a thicker line for the other, not colour alone. */
  private _line(colour: () => string, filled: boolean): uPlot.Series {
    return {
      stroke: colour,
      width: filled ? 1 : 2,
      fill: filled ? () => `color-mix(in srgb, ${colour()} 22%, transparent)` : undefined,
      points: { show: false }
    };
  }

  private _window(min?: number | null, max?: number | null): [number, number] {
    const end = max ?? Date.now() / 1000;
    return windowOf(min ?? end, end, this._timeline, this._seconds);
  }
}

/** Where labels stand between two moments: whole steps from the origin. */
export function splitsOf(min: number, max: number, step: number, origin: number): number[] {
  const first = Math.ceil((min - origin) / step);
  const count = Math.floor((max - origin) / step) - first + 1;
  return Array.from({ length: Math.min(count, MOST_SPLITS) }, (_, at) => origin + (first + at) * step);
}
