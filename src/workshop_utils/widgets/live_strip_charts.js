/* The live strip's charts. Joined with uPlot and live_strip.js into one module, which asks nobody for anything. */

const GIB = 2 ** 30;
const CHART_HEIGHT = 88;
/* The window grows with the data up to the whole; a short one is marked in seconds. */
const SHORTEST_S = 60;
const SECONDS_UP_TO_S = 120;
/* At least 3:1 on a white, a #212121 and a #111 page; from the fifth on, lines are dashed as well. */
const COLOURS = ['#1e88e5', '#d9630a', '#2e9a5b', '#c2519f', '#8a7a00', '#7b6fe0', '#00909e', '#e0485a'];
const DASHED_FROM = 4;

/* What each of a device's three numbers is, in the order of a row; `host`: the title without a GPU; `top`: the
 * end of the scale, if known. */
const FIGURES = [
  { title: 'utilisation', host: 'CPU', unit: '%', scale: 1, digits: 0, top: () => 100 },
  {
    title: 'memory used',
    host: 'Main',
    unit: 'GiB',
    scale: GIB,
    digits: 1,
    top: device => device.memory_bytes
  },
  { title: 'power', unit: 'W', scale: 1, digits: 0, top: device => device.power_watts }
];

function element(tag, className, text = '') {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function shown(value, { unit, digits }) {
  return value === null || value === undefined
    ? 'not reported'
    : `${value.toFixed(value < 100 ? digits : 0)} ${unit}`;
}

/** One figure of all devices: a title, a chart, the newest values as text. */
class StripChart {
  constructor(figure, devices, windowSeconds) {
    this.figure = figure;
    this.devices = devices;
    this.window = windowSeconds;
    this.title = `${devices[0].kind === 'gpu' ? 'GPU' : figure.host} ${figure.title}`;
    this.node = element('figure', 'workshop-strip-chart');
    const top = Math.max(...devices.map(device => figure.top(device) ?? 0)) / figure.scale;
    this.top = top > 0 ? top : null;
    const limit = this.top && figure.unit !== '%' ? `of ${shown(this.top, figure)}` : '';
    const head = element('figcaption', 'workshop-strip-title', this.title);
    head.append(element('span', 'workshop-strip-limit', limit));
    this.picture = element('div', 'workshop-strip-picture');
    this.picture.setAttribute('role', 'img');
    const values = element('ul', 'workshop-strip-values');
    this.values = devices.map((device, at) => this._value(values, device, at));
    this.node.append(head, this.picture, values);
    this.plot = null;
  }

  /** Make the chart when the node is in the page and has a width and colours. */
  attach() {
    this.plot = new uPlot(this._options(), [[], ...this.devices.map(() => [])], this.picture);
    this.resize = new ResizeObserver(() => {
      const width = this.picture.clientWidth;
      if (width > 0 && width !== this.plot.width) {
        this.plot.setSize({ width, height: CHART_HEIGHT });
      }
    });
    this.resize.observe(this.picture);
  }

  /** `lines`: one array of values a device, in the figure's unit. */
  draw(times, lines) {
    this.plot.setData([times, ...lines]);
    const now = this.devices.map((device, at) => [device.label, shown(lines[at].at(-1), this.figure)]);
    now.forEach(([, words], at) => (this.values[at].textContent = words));
    const words = now.map(each => each.join(' ')).join(', ');
    this.picture.setAttribute(
      'aria-label',
      `${this.title}, last ${this.window / 60} minutes. Now: ${words}.`
    );
  }

  recolour() {
    this.plot.redraw(false, true);
  }

  remove() {
    this.resize?.disconnect();
    this.plot?.destroy();
  }

  _value(list, device, at) {
    const item = element('li', 'workshop-strip-value');
    const key = element('span', 'workshop-strip-key');
    key.style.borderTop = `3px ${at < DASHED_FROM ? 'solid' : 'dashed'} ${COLOURS[at % COLOURS.length]}`;
    key.setAttribute('aria-hidden', 'true');
    const value = element('span', 'workshop-strip-now', '…');
    item.append(key, `${device.label} `, value);
    item.title = device.name ?? '';
    list.append(item);
    return value;
  }

  _options() {
    const css = name => getComputedStyle(this.node).getPropertyValue(name).trim();
    const axis = {
      stroke: () => css('--strip-text'),
      font: `10px ${getComputedStyle(this.node).fontFamily}`,
      ticks: { show: false },
      grid: { stroke: () => css('--strip-grid'), width: 1 }
    };
    return {
      width: this.picture.clientWidth || 220,
      height: CHART_HEIGHT,
      padding: [7, 14, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: true, range: (_plot, min, max) => this._window(min ?? 0, max ?? 0) },
        y: { range: (_plot, _min, max) => [0, this.top ?? Math.max(1, 1.1 * (max ?? 0))] }
      },
      axes: [
        {
          ...axis,
          size: 20,
          gap: 5,
          splits: (_plot, _axis, min, max) => this._splits(min, max),
          values: (_plot, splits) => splits.map((time, at) => this._ago(splits, time, at))
        },
        {
          ...axis,
          size: 40,
          gap: 4,
          splits: (_plot, _axis, min, max) => [min, (min + max) / 2, max],
          values: (_plot, splits) => splits.map((value, at) => (at === 1 ? '' : value.toFixed(0)))
        }
      ],
      series: [{}, ...this.devices.map((_, at) => this._line(at))]
    };
  }

  _window(min, max) {
    return [max - Math.min(this.window, Math.max(SHORTEST_S, max - min)), max];
  }

  /** From now back, every twenty seconds or every minute. */
  _splits(min, max) {
    const step = max - min <= SECONDS_UP_TO_S ? 20 : 60;
    return Array.from({ length: 1 + Math.floor((max - min) / step) }, (_, at) => max - step * at);
  }

  /** `now`, `−1`, `−2 min`: the unit stands once, at the left. */
  _ago(splits, time, at) {
    const seconds = splits[0] - time;
    const isShort = splits[0] - splits[1] < 60;
    const unit = at < splits.length - 1 ? '' : isShort ? ' s' : ' min';
    return at === 0 ? 'now' : `−${Math.round(isShort ? seconds : seconds / 60)}${unit}`;
  }

  _line(at) {
    const dash = at < DASHED_FROM ? undefined : [4, 3];
    return {
      stroke: COLOURS[at % COLOURS.length],
      width: 1.5,
      dash,
      points: { show: false },
      spanGaps: false
    };
  }
}
