/** Memory and percents in words: all that the status bar needs of the panel’s formats. */

export const NOT_REPORTED = 'not reported';
const BYTES = { GiB: 1024 ** 3, GB: 1000 ** 3 };

/** The units in which memory may be shown: what a driver counts in, or what models are sold in. */
export type Unit = keyof typeof BYTES;

/** One page has one reader, so one unit. */
let unit: Unit = 'GiB';

/** Show memory in this unit from now on. */
export function showMemoryIn(chosen: Unit): void {
  unit = chosen;
}

export function percent(value: number | null): string {
  return value === null ? NOT_REPORTED : `${Math.round(value)} %`;
}

function amount(bytes: number): string {
  const whole = BYTES[unit];
  return (bytes / whole).toFixed(bytes < 100 * whole ? 1 : 0);
}

/** `1.0 GiB`, in the reader's unit. */
export function size(bytes: number): string {
  return `${amount(bytes)} ${unit}`;
}

/** `1.0 of 140 GiB`. */
export function usedOfTotal(used: number | null, total: number | null): string {
  if (used === null) {
    return NOT_REPORTED;
  }
  return total === null ? size(used) : `${amount(used)} of ${size(total)}`;
}
