import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { hourMinute } from './format';
import type { IPalette } from './palette';

/** What one chart draws: seconds since 1970, and two lines in percent; null breaks a line. */
export interface IChartData {
  times: number[];
  busy: (number | null)[];
  memory: (number | null)[];
  /** Memory as it was planned, a dashed line; beyond the whole it stands at the top. */
  planned?: number | null;
}

const HEIGHT = 80;
/** Room for “100%” left of the plot, in CSS pixels. */
const Y_AXIS_WIDTH = 36;
const X_AXIS_HEIGHT = 18;
/** Half a time label: the last one may stand at the right edge. */
const RIGHT_PADDING = 18;
/** What the axis shows at first; in a ten-minute window the first minute would be a sliver. */
const SHORTEST_WINDOW_SECONDS = 120;
const MINUTE = 60;

/** Every chart of the panel shows the same moment under the pointer. */
const SYNC_KEY = 'workshop-monitor';

/**
 * Two lines in percent over at most the last ten minutes. The window ends at the newest sample, grows with the
 * data and then rolls.
 */
export class Chart {
  readonly node: HTMLElement;
  private readonly _plot: uPlot;
  private readonly _resize: ResizeObserver;
  private _windowSeconds = 600;
  private _planned: number | null = null;

  /** `onHover` is given the row under the pointer, or null when it leaves. */
  constructor(
    node: HTMLElement,
    private readonly _palette: () => IPalette,
    onHover: (row: number | null) => void
  ) {
    this.node = node;
    this._plot = new uPlot(this._options(onHover), [[], [], []], node);
    this._resize = new ResizeObserver(() => {
      const width = node.clientWidth;
      if (width > 0 && width !== this._plot.width) {
        this._plot.setSize({ width, height: HEIGHT });
      }
    });
    this._resize.observe(node);
  }

  draw(data: IChartData, windowSeconds: number): void {
    this._windowSeconds = windowSeconds;
    this._planned = data.planned ?? null;
    this._plot.setData([data.times, data.busy, data.memory]);
  }

  /** Draw again in the colours of a new theme. */
  recolour(): void {
    this._plot.redraw(false, true);
  }

  dispose(): void {
    this._resize.disconnect();
    this._plot.destroy();
  }

  private _options(onHover: (row: number | null) => void): uPlot.Options {
    const palette = this._palette;
    const grid = { stroke: () => palette().grid, width: 1 };
    const axis = { stroke: () => palette().text, font: palette().font, ticks: { show: false }, grid };
    return {
      width: this.node.clientWidth || 200,
      height: HEIGHT,
      padding: [6, RIGHT_PADDING, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false, setScale: false },
        sync: { key: SYNC_KEY },
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
          incrs: [MINUTE, 2 * MINUTE, 5 * MINUTE],
          values: (_plot, splits) => splits.map(hourMinute)
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
        setCursor: [plot => onHover(plot.cursor.idx ?? null)],
        draw: [plot => this._drawPlanned(plot)]
      }
    };
  }

  private _drawPlanned(plot: uPlot): void {
    if (this._planned === null) {
      return;
    }
    const { ctx, bbox } = plot;
    const y = Math.round(plot.valToPos(Math.min(this._planned, 100), 'y', true));
    ctx.save();
    ctx.strokeStyle = this._palette().memory;
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
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
      points: { show: false },
      spanGaps: false
    };
  }

  private _window(min: number | null, max: number | null): uPlot.Range.MinMax {
    const end = max ?? Date.now() / 1000;
    const seconds = Math.max(SHORTEST_WINDOW_SECONDS, end - (min ?? end));
    return [end - Math.min(seconds, this._windowSeconds), end];
  }
}
