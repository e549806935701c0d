import type { ServerConnection } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';
import { Absence } from './absence';
import { showMemoryIn } from './memory';
import type { Frame, IWarning, Owners } from './frames';
import { History } from './history';
import { DEFAULTS, queryOf, type ISettings } from './settings';
import { Stream, type StreamState } from './stream';

/** What is sent only when it changes. */
interface ISaid {
  owners: Owners;
  warnings: IWarning[];
  plan: unknown;
  nodes: unknown;
  tokens: unknown;
}

/** The server goes on looking once a second, and tells all of it to who comes back. */
const ABSENT_HZ = 0.2;

const NOTHING_SAID: ISaid = { owners: new Map(), warnings: [], plan: null, nodes: null, tokens: null };

/** What the server says, for the panel, the status bar and the notifications: one socket for all of a page. */
export class Feed {
  readonly history = new History();
  owners: Owners = new Map();
  warnings: IWarning[] = [];
  /** As the server sent it. */
  plan: unknown = null;
  /** The other nodes of the job, as the server sent them. */
  nodes: unknown = null;
  /** What decode loops report, as the server sent it. */
  tokens: unknown = null;
  /** What the server says of its CPU and libraries, as it sent it. */
  machine: unknown = null;
  /** Is given every frame as it came, while something is recorded. */
  tap: ((frame: Frame, text: string) => void) | null = null;
  state: StreamState = { kind: 'connecting' };
  settings: ISettings = DEFAULTS;
  /** Comes before the sample that it belongs to, and holds from that sample on: nothing flickers at a reconnect. */
  private _said: ISaid = NOTHING_SAID;
  private _note: string | null = null;
  private _problem: string | null = null;
  private _wanted = false;
  private _configured = false;
  private _absent = false;
  private readonly _configuredSignal = new Signal<this, void>(this);
  private readonly _changed = new Signal<this, void>(this);
  private readonly _stream: Stream;

  constructor(server: ServerConnection.ISettings) {
    this._stream = new Stream(
      server,
      (frame, text) => {
        this._receive(frame);
        this.tap?.(frame, text);
      },
      state => this._connected(state)
    );
    new Absence(absent => {
      this._absent = absent;
      this._ask();
    });
  }

  /** Emitted after every frame, change of the connection and change of the settings. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted after a change of the settings alone. */
  get configured(): ISignal<this, void> {
    return this._configuredSignal;
  }

  /** What the server or the settings have to say to the reader, or null. */
  get note(): string | null {
    return [this._problem, this._note].filter(each => each !== null).join(' ') || null;
  }

  /** Take settings, with a sentence about those that could not be used; a stream that runs goes on by them. */
  configure(settings: ISettings, problem: string | null): void {
    this.settings = settings;
    this._problem = problem;
    showMemoryIn(settings.unit);
    this._ask();
    if (this._wanted && !this._configured) {
      this._stream.connect();
    }
    this._configured = true;
    this._configuredSignal.emit();
    this._changed.emit();
  }

  /** Look from now on; the socket waits for the settings, so that it is opened once. */
  start(): void {
    if (!this._wanted) {
      this._wanted = true;
      if (this._configured) {
        this._stream.connect();
      }
    }
  }

  /** Look no more, until somebody starts it again. */
  stop(): void {
    this._wanted = false;
    this._stream.stop();
    this.state = { kind: 'connecting' };
  }

  /** Try now, whatever the back-off says. */
  retry(): void {
    this._stream.connect();
  }

  /** What is recorded comes at its rate, whoever sees it. */
  private _ask(): void {
    const { rate } = this.settings;
    const hz = this._absent && this.tap === null ? Math.min(rate, ABSENT_HZ) : rate;
    this._stream.ask(queryOf({ ...this.settings, rate: hz }));
  }

  private _receive(frame: Frame): void {
    switch (frame.kind) {
      case 'hello':
        this.history.hz = frame.hz;
        this.history.windowSeconds = frame.historySeconds;
        this._note = frame.note;
        this.machine = frame.machine;
        // A server tells a new client nothing of what is empty.
        this._said = NOTHING_SAID;
        break;
      case 'history':
        this.history.merge(frame.samples);
        break;
      case 'owners':
      case 'warnings':
      case 'plan':
      case 'nodes':
      case 'tokens': {
        const { kind: _, ...said } = frame;
        this._said = { ...this._said, ...said };
        return;
      }
      case 'sample':
        this.history.add(frame.sample);
        Object.assign(this, this._said);
        break;
      default:
        return;
    }
    this._changed.emit();
  }

  private _connected(state: StreamState): void {
    // A new attempt is no news: what was said about the last one stays until one succeeds. Nor is each frame.
    if (state.kind !== 'connecting' && !(state.kind === 'live' && this.state.kind === 'live')) {
      this.state = state;
      this._changed.emit();
    }
  }
}
