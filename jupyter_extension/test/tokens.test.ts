import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { tokensText } from '../src/tokens';

test('rates are told with as many digits as mean something', () => {
  const text = (perSecond: unknown, joules: unknown): string =>
    tokensText({ tokens_per_second: perSecond, joules_per_token: joules }).replaceAll('\u00a0', ' ');
  assert.equal(text(244.4, 2.306), 'Decoding: 244 tokens/s, 2.31 J/token');
  assert.equal(text(10028.4, 0.0461), 'Decoding: 10,028 tokens/s, 0.0461 J/token');
  assert.equal(text(3.27, 118.6), 'Decoding: 3.3 tokens/s, 119 J/token');
  assert.equal(text(3.27, null), 'Decoding: 3.3 tokens/s');
  assert.equal(text(99.9, 2310), 'Decoding: 99.9 tokens/s, 2,310 J/token');
  assert.equal(text(null, 1), '');
  assert.equal(text('5', 1), '');
});

test('a number stays with its unit', () => {
  const said = tokensText({ tokens_per_second: 244, joules_per_token: 2.31 });
  assert.equal(said, 'Decoding: 244\u00a0tokens/s, 2.31\u00a0J/token');
});

test('nothing is said while nothing decodes', () => {
  for (const none of [null, undefined, 5, [], {}, 'x']) {
    assert.equal(tokensText(none), '');
  }
});
