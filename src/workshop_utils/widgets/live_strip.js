/* The live strip in a page: keeps the rows of the last minutes, draws them while somebody looks, and answers. */

const ANSWER_MS = 30000;
const GREET_MS = 1500;
/* Without a row for this long the figures are no longer live; a kernel that only paused is greeted again. */
const STALE_MS = 6000;
const GREET_AGAIN_MS = 15000;

/** The rows that the kernel sent: time and the numbers behind it, NaN where there is none. */
class Rows {
  constructor(model) {
    this.model = model;
    this.rows = [];
  }

  add(buffer) {
    const width = 1 + FIGURES.length * this.model.get('devices').length;
    const bytes = buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
    const numbers = new Float64Array(bytes);
    for (let at = 0; at + width <= numbers.length; at += width) {
      const row = numbers.subarray(at, at + width);
      const ahead = (this.rows.at(-1)?.[0] ?? -Infinity) - row[0];
      if (ahead > 0) {
        // The clock was set back: what was sampled before keeps its distance.
        this.rows.forEach(each => (each[0] -= ahead + 1 / this.model.get('hz')));
      }
      if (ahead !== 0) {
        this.rows.push(row);
      }
    }
    const since = (this.rows.at(-1)?.[0] ?? 0) - this.model.get('window_seconds');
    this.rows.splice(
      0,
      this.rows.findIndex(row => row[0] >= since)
    );
  }

  /** Times, and each device's values of one figure; a pause is a gap. */
  lines(index, scale) {
    const longest = 4 / Math.min(1, this.model.get('hz'));
    const devices = this.model.get('devices').map((_, at) => 1 + FIGURES.length * at + index);
    const [times, lines] = [[], devices.map(() => [])];
    for (const row of this.rows) {
      if (times.length > 0 && row[0] - times.at(-1) > longest) {
        times.push((times.at(-1) + row[0]) / 2);
        lines.forEach(line => line.push(null));
      }
      times.push(row[0]);
      devices.forEach((column, at) => lines[at].push(isNaN(row[column]) ? null : row[column] / scale));
    }
    return [times, lines];
  }
}

class Strip {
  constructor(model, el) {
    this.model = model;
    this.rows = new Rows(model);
    this.charts = [];
    this.heardAt = this.greetedAt = Date.now();
    this.answeredAt = 0;
    this.knowsPast = false;
    this.node = element('section', 'workshop-strip');
    this.node.setAttribute('aria-label', 'Live strip: what this notebook’s devices do');
    this.pictures = element('div', 'workshop-strip-charts');
    this.decode = element('p', 'workshop-strip-decode');
    this.notes = element('p', 'workshop-strip-notes');
    this.stale = element('p', 'workshop-strip-stale');
    this.stale.setAttribute('role', 'status');
    this.node.append(this.pictures, this.decode, this.notes, this.stale);
    el.append(this.node);
    this.onMessage = (content, buffers) => this.hear(content, buffers);
    this.onDevices = () => this.build();
    model.on('msg:custom', this.onMessage);
    model.on('change:devices', this.onDevices);
    this.theme = new MutationObserver(() => this.charts.forEach(chart => chart.recolour()));
    this.theme.observe(document.body, {
      attributes: true,
      attributeFilter: ['data-jp-theme-light', 'class']
    });
    this.timer = setInterval(() => this.watch(), 2000);
    this.build();
    this.say('hello');
  }

  remove() {
    clearInterval(this.timer);
    this.theme.disconnect();
    this.model.off('msg:custom', this.onMessage);
    this.model.off('change:devices', this.onDevices);
    this.charts.forEach(chart => chart.remove());
  }

  hear(content, buffers) {
    if (content.kind === 'history') {
      this.rows.rows = [];
      this.knowsPast = true;
    }
    buffers.forEach(buffer => this.rows.add(buffer));
    this.heardAt = Date.now();
    this.stale.textContent = '';
    this.node.classList.remove('workshop-strip-is-stale');
    set(this.decode, content.decode);
    set(this.notes, content.notes.join(' '));
    if (!this.knowsPast && this.heardAt - this.greetedAt > GREET_MS) {
      this.say('hello'); // the first was lost while a reloaded page was still connecting
    } else if (this.heardAt - this.answeredAt > ANSWER_MS) {
      this.say('here');
    }
    this.draw();
  }

  /** Draw while somebody can see it: a hidden page or notebook costs nothing. */
  draw() {
    if (!this.attached && this.node.isConnected && this.charts.length > 0) {
      this.charts.forEach(chart => chart.attach());
      this.attached = true;
    }
    if (this.attached && !document.hidden && this.node.offsetParent !== null && this.rows.rows.length > 0) {
      for (const chart of this.charts) {
        chart.draw(...this.rows.lines(FIGURES.indexOf(chart.figure), chart.figure.scale));
      }
    }
  }

  build() {
    const devices = this.model.get('devices');
    this.charts.forEach(chart => chart.remove());
    this.rows.rows = [];
    this.attached = false;
    const figures = FIGURES.filter(({ unit }) => unit !== 'W' || devices[0]?.kind === 'gpu');
    this.charts =
      devices.length === 0
        ? []
        : figures.map(figure => new StripChart(figure, devices, this.model.get('window_seconds')));
    this.pictures.replaceChildren(...this.charts.map(chart => chart.node));
    if (devices.length === 0) {
      this.pictures.append(element('p', 'workshop-strip-notes', 'The first figures come in a moment.'));
    }
  }

  watch() {
    const silent = Date.now() - this.heardAt;
    if (silent > STALE_MS + 1000 / this.model.get('hz')) {
      const since = new Date(this.heardAt).toLocaleTimeString();
      set(
        this.stale,
        `No figures since ${since}: the kernel has ended, or a cell keeps its threads from running.`
      );
      this.node.classList.add('workshop-strip-is-stale');
      if (Date.now() - this.greetedAt > GREET_AGAIN_MS) {
        this.say('hello');
      }
    }
  }

  say(kind) {
    this.answeredAt = Date.now();
    if (kind === 'hello') {
      this.greetedAt = this.answeredAt;
    }
    try {
      this.model.send({ kind });
    } catch {
      /* the kernel has gone: watch() says so */
    }
  }
}

/** Set a text that is there already only when it differs, for a screen reader's sake. */
function set(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export default {
  render({ model, el }) {
    const strip = new Strip(model, el);
    return () => strip.remove();
  }
};
