import { Notification } from '@jupyterlab/apputils';
import type { IWarning } from './frames';

/** Long enough to read two lines; afterwards Lab keeps it in its list of notifications. */
const READ_MS = 15_000;

interface IToast {
  id: string;
  /** How many warnings of its kind it tells of. */
  count: number;
}

/** Each new kind of warning as one notification of Lab, however many GPUs it is about; it goes with the last. */
export class Toasts {
  private readonly _shown = new Map<string, IToast>();

  constructor(private readonly _open: () => void) {}

  /** Show what is new among the warnings that hold now, and take away what does no longer hold. */
  show(warnings: IWarning[], wanted: boolean): void {
    const kinds = new Map<string, IWarning[]>();
    for (const warning of wanted ? warnings : []) {
      kinds.set(warning.kind, [...(kinds.get(warning.kind) ?? []), warning]);
    }
    for (const [kind, { id }] of this._shown) {
      if (!kinds.has(kind)) {
        this._shown.delete(kind);
        Notification.dismiss(id);
      }
    }
    kinds.forEach((each, kind) => this._tell(kind, each));
  }

  private _tell(kind: string, warnings: IWarning[]): void {
    const count = warnings.length;
    const toast = this._shown.get(kind);
    if (toast !== undefined && toast.count >= count) {
      toast.count = count;
      return;
    }
    const first = warnings[0]?.text ?? '';
    const message = count === 1 ? first : `${count} GPUs, the first: ${first}`;
    if (toast === undefined) {
      const actions = [{ label: 'Show GPU monitor', callback: this._open }];
      this._shown.set(kind, { id: Notification.warning(message, { autoClose: READ_MS, actions }), count });
    } else {
      toast.count = count;
      Notification.update({ id: toast.id, message });
    }
  }
}
