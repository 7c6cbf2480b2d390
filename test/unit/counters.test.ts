import { expect, test } from 'vitest';
import { Counters, formatSeries } from '../../src/stores/counters.ts';

test('what happens is sent soon where much does, seldom where little does, and never for nothing', () => {
  const now = Date.now();
  const counters = new Counters();
  expect(counters.isDue(now + 3_600_000)).toBe(false);
  counters.observe('timestore_store_latency_ms', { store: 'redis' }, 3, false);
  expect([counters.isWorth, counters.isDue(now + 3_600_000)]).toEqual([false, false]);
  counters.add('timestore_ingest_replayed_total', {});
  expect([now + 1_000, now + 30_000, now + 61_000].map((at) => counters.isDue(at))).toEqual([false, false, true]);
  for (let n = 0; n < 60; n += 1) counters.add('timestore_ingest_replayed_total', {});
  expect([now + 1_000, now + 11_000].map((at) => counters.isDue(at))).toEqual([false, true]);
});

test('labels are escaped as Prometheus reads them', () => {
  expect(formatSeries('a', { b: 'c"\\\n' })).toBe('a{b="c\\"\\\\\\n"}');
  expect(formatSeries('a', {})).toBe('a');
});
