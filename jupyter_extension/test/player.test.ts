import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { Player } from '../src/player';

test('it stands still until it plays, and then goes on at its speed', () => {
  let changes = 0;
  const player = new Player(90, () => changes++);
  player.tick(5);
  assert.deepEqual([player.position, changes], [0, 0]);
  player.toggle();
  player.tick(2);
  player.speed = 16;
  player.tick(2);
  assert.deepEqual([player.position, player.playing, changes], [34, true, 3]);
  player.toggle();
  player.tick(2);
  assert.equal(player.position, 34);
});

test('it pauses at the end, and begins again from there', () => {
  const player = new Player(10, () => {});
  player.toggle();
  player.tick(11);
  assert.deepEqual([player.position, player.playing], [10, false]);
  player.toggle();
  assert.deepEqual([player.position, player.playing], [0, true]);
});

test('it does not leave the recording', () => {
  const player = new Player(10, () => {});
  player.seek(-1);
  assert.equal(player.position, 0);
  player.seek(11);
  assert.equal(player.position, 10);
});
