import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { DEFAULTS, readSettings, type ISettings } from './settings';

const CORRECT = 'Correct it in Settings → Settings Editor → GPU Monitor.';

/** Give the settings to `use` now and whenever they change, with a sentence where some cannot be used. */
export async function followSettings(
  registry: ISettingRegistry | null,
  id: string,
  use: (settings: ISettings, problem: string | null) => void
): Promise<void> {
  if (registry === null) {
    use(DEFAULTS, null);
    return;
  }
  try {
    const stored = await registry.load(id);
    const read = (): void => {
      const { settings, problems } = readSettings(stored.composite as Record<string, unknown>);
      use(settings, problems.length === 0 ? null : `${problems.join(' ')} ${CORRECT}`);
    };
    stored.changed.connect(read);
    read();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    use(
      DEFAULTS,
      `The settings of this panel cannot be read, so its defaults are used (${reason}). ${CORRECT}`
    );
  }
}
