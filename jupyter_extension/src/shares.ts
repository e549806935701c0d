import type { IGpuProcess, Owners } from './frames';

/** What one owner holds of a GPU; null where the driver hides the memory of one of its programs. */
export interface IShare {
  name: string;
  memoryBytes: number | null;
}

/**
 * The memory of a GPU by owner, the largest first: all programs of a notebook together, others by their name and
 * number, and what cannot be seen from the server by its number alone.
 */
export function sharesOf(processes: IGpuProcess[], owners: Owners): IShare[] {
  const shares = new Map<string, number | null>();
  for (const { pid, memoryBytes } of processes) {
    const owner = owners.get(pid);
    const name = owner?.notebook ?? (owner?.command ? `${owner.command} (${pid})` : `unknown (${pid})`);
    const before = shares.get(name);
    const known = memoryBytes !== null && before !== null;
    shares.set(name, known ? (before ?? 0) + memoryBytes : null);
  }
  return [...shares]
    .map(([name, memoryBytes]) => ({ name, memoryBytes }))
    .sort((a, b) => (b.memoryBytes ?? 0) - (a.memoryBytes ?? 0));
}
