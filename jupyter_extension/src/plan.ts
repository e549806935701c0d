import { isFields, numberOrNull, textOrNull } from './frames';
import { size } from './memory';

/** A part of a planned GPU; `kind` is that of the estimate: weights, kv_cache, activations, reserve, process. */
export interface IPlannedTerm {
  kind: string;
  bytes: number;
}

/** What was planned, and the terms of each GPU in order of the ranks. */
export interface IPlan {
  title: string;
  gpus: IPlannedTerm[][];
}

/** A kind of the plan on one GPU, and how much of it is there already, as memory fills in this order. */
export interface IPlannedPart {
  kind: string;
  name: string;
  bytes: number;
  thereBytes: number;
}

/** In the order in which a run takes them: the context, the weights, then what the text needs. */
const KINDS: Record<string, string> = {
  process: 'driver and context',
  weights: 'weights',
  kv_cache: 'KV cache',
  activations: 'working memory',
  reserve: "allocator's reserve"
};

/** Half a per mille of a GPU: less is no gap. */
const NO_GAP_BYTES = 64 * 1024 ** 2;

/** The parts of one GPU's plan against the memory in use; an unknown use leaves nothing there. */
export function partsOf(terms: IPlannedTerm[], usedBytes: number | null): IPlannedPart[] {
  let left = usedBytes ?? 0;
  return Object.entries(KINDS).flatMap(([kind, name]) => {
    const bytes = terms.filter(term => term.kind === kind).reduce((sum, term) => sum + term.bytes, 0);
    const thereBytes = Math.min(bytes, Math.max(0, left));
    left -= bytes;
    return bytes > 0 ? [{ kind, name, bytes, thereBytes }] : [];
  });
}

export function plannedBytes(terms: IPlannedTerm[]): number {
  return terms.reduce((sum, term) => sum + term.bytes, 0);
}

/** The gap between plan and use in one sentence, term by term. */
export function gapText(terms: IPlannedTerm[], usedBytes: number | null): string {
  if (usedBytes === null) {
    return 'The driver does not say how much is in use.';
  }
  const gap = plannedBytes(terms) - usedBytes;
  if (Math.abs(gap) < NO_GAP_BYTES) {
    return 'In use as planned.';
  }
  if (gap < 0) {
    return `${size(-gap)} more than planned: other programs on this GPU, or a term that was not planned.`;
  }
  const missing = partsOf(terms, usedBytes)
    .filter(part => part.bytes - part.thereBytes >= NO_GAP_BYTES)
    .map(part => `${part.name} ${size(part.bytes - part.thereBytes)}`);
  return `${size(gap)} not in use yet: ${missing.join(', ')}.`;
}

/** Read the plan of a frame; null where there is none. */
export function parsePlan(value: unknown): IPlan | null {
  if (!isFields(value) || !Array.isArray(value.gpus)) {
    return null;
  }
  const gpus = value.gpus.map((terms: unknown) =>
    (Array.isArray(terms) ? terms : [])
      .filter(isFields)
      .map(term => ({ kind: textOrNull(term.kind) ?? '', bytes: numberOrNull(term.bytes) ?? 0 }))
  );
  return { title: textOrNull(value.title) ?? '', gpus };
}
