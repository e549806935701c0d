import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { parseFrame, type Frame } from './frames';

/** How the stream is doing; every state but `live` and `connecting` has one sentence for the reader. */
export type StreamState = { kind: 'connecting' } | { kind: 'live' } | { kind: 'broken'; sentence: string };

/** A socket that says nothing for this long is taken for dead (a laptop slept, a proxy dropped it). */
const SILENCE_MS = 15_000;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

const LOST =
  'Disconnected from the server. The charts keep what was measured; the panel reconnects by itself.';
const MISSING =
  'The server part of this panel is missing (404). Install multigpu-llm-workshop where JupyterLab is installed, ' +
  'then restart the server; “jupyter server extension list” should name workshop_monitor.';
const REFUSED = 'The server refused this panel (403). Log in to Jupyter again, then reload the page.';
const BLOCKED =
  'The server answers, but its websocket does not open: a proxy may not let it through. ' +
  'Ask whoever runs that to allow websockets for Jupyter.';

/** The one websocket of this page. Reconnects with a back-off that doubles from one second to a minute. */
export class Stream {
  private _socket: WebSocket | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _retryMs = FIRST_RETRY_MS;
  /** Why nothing more comes, if so; null until this socket has said something. */
  private _silence: string | null = null;
  private _stopped = true;
  private _query = '';

  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _onFrame: (frame: Frame, text: string) => void,
    private readonly _onState: (state: StreamState) => void
  ) {}

  /** What to ask for, as the query of the address, from now on; the socket that is open is replaced. */
  ask(query: string): void {
    if (query !== this._query) {
      this._query = query;
      if (!this._stopped) {
        this.connect();
      }
    }
  }

  /** Open the socket now, whatever the back-off says. */
  connect(): void {
    this._close();
    this._stopped = false;
    this._silence = null;
    this._onState({ kind: 'connecting' });
    const socket = new this._settings.WebSocket(this._url());
    let opened = false;
    socket.onopen = () => (opened = true);
    socket.onmessage = event => this._receive(String(event.data));
    socket.onclose = () => void this._lost(opened);
    this._socket = socket;
    this._watch();
  }

  /** Close the socket and do not come back by itself. */
  stop(): void {
    this._stopped = true;
    this._close();
  }

  /** As Lab addresses its own sockets: the token travels in the query only where Lab itself would put it. */
  private _url(): string {
    const { wsUrl, token, appendToken } = this._settings;
    const url = `${URLExt.join(wsUrl, 'workshop-monitor/stream')}?${this._query}`;
    return appendToken && token ? `${url}&token=${encodeURIComponent(token)}` : url;
  }

  private _receive(text: string): void {
    let frame: Frame;
    try {
      frame = parseFrame(text);
    } catch (error) {
      this._skip((error as Error).message);
      return;
    }
    this._watch();
    this._silence = LOST;
    if (frame.kind === 'sample') {
      this._retryMs = FIRST_RETRY_MS;
    }
    this._onState({ kind: 'live' });
    this._onFrame(frame, text);
  }

  /** One frame that cannot be read costs itself alone; who cannot be read from the first on is left. */
  private _skip(sentence: string): void {
    if (this._silence === null) {
      this._fail(sentence);
    } else if (this._silence === LOST) {
      console.warn(sentence);
      this._silence = sentence;
    }
  }

  private async _lost(opened: boolean): Promise<void> {
    this._close();
    const sentence = opened ? LOST : await this._diagnose();
    if (this._socket === null && !this._stopped) {
      this._fail(sentence);
    }
  }

  /** A browser hides why a websocket did not open, so ask the same server in plain HTTP. */
  private async _diagnose(): Promise<string> {
    const url = URLExt.join(this._settings.baseUrl, 'workshop-monitor/snapshot');
    try {
      const response = await ServerConnection.makeRequest(url, {}, this._settings);
      if (response.ok) {
        return BLOCKED;
      }
      return response.status === 404 ? MISSING : [401, 403].includes(response.status) ? REFUSED : LOST;
    } catch {
      return LOST;
    }
  }

  /** Say what is wrong, and try again later. */
  private _fail(sentence: string): void {
    this._close();
    this._onState({ kind: 'broken', sentence });
    // Up to a quarter more, so that a class of readers does not come back in the same instant.
    const delay = this._retryMs * (1 + Math.random() / 4);
    this._retryMs = Math.min(2 * this._retryMs, LAST_RETRY_MS);
    this._timer = setTimeout(() => this.connect(), delay);
  }

  private _watch(): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._fail(this._silence ?? LOST), SILENCE_MS);
  }

  private _close(): void {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }
}
