import { element, setText } from './dom';
import { isFields, numberOrNull } from './frames';

const MEANING =
  'Of the last ten seconds: tokens as decode loops report them, and the power of all GPUs of this job over time.';

/** `Decoding: 244 tokens/s, 2.31 J/token`; empty while nothing decodes, or for what is no such thing. */
export function tokensText(tokens: unknown): string {
  if (!isFields(tokens)) {
    return '';
  }
  const rate = numberOrNull(tokens.tokens_per_second);
  const energy = numberOrNull(tokens.joules_per_token);
  if (rate === null) {
    return '';
  }
  // A number stays with its unit where a narrow panel breaks the line.
  const perSecond = `${shown(rate, rate < 100 ? 1 : 0)}\u00a0tokens/s`;
  if (energy === null) {
    return `Decoding: ${perSecond}`;
  }
  return `Decoding: ${perSecond}, ${energy < 1000 ? energy.toPrecision(3) : shown(energy, 0)}\u00a0J/token`;
}

function shown(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** What decode loops make and take, while there are some. */
export class TokensLine {
  readonly node = element('p', 'wm-notice wm-notice-text');

  constructor() {
    this.node.title = MEANING;
    this.show(null);
  }

  /** Show what the stream says of them. */
  show(tokens: unknown): void {
    const text = tokensText(tokens);
    this.node.hidden = text === '';
    setText(this.node, text);
  }
}
