import fc from 'fast-check';
import { describe, expect } from 'vitest';
import type { Window } from '../../../src/monitoring/maintenance-windows.ts';
import { mergedWindows } from '../../../src/monitoring/maintenance-windows.ts';
import { countAvailability, type SlotCounts } from '../../../src/monitoring/page/availability.ts';
import { readCurrent } from '../../../src/monitoring/page/current.ts';
import { readHistory } from '../../../src/monitoring/page/history.ts';
import { allRows } from '../../../src/monitoring/page/read-table.ts';
import type { SlotService } from '../../../src/monitoring/page/slots.ts';
import { test } from '../fixtures.ts';
import { createStatusTable, flushStatus, type StatusRow, sendStatus } from './status-rows.ts';

const base_ms = Date.parse('2026-05-01T00:00:00Z');
const text = (at_ms: number) => new Date(at_ms).toISOString();

/** Looks at every slot of a part by itself. */
function naiveCount(
  service: SlotService,
  rows: StatusRow[],
  { part, now_ms }: { part: Window; now_ms: number },
): SlotCounts {
  const counts = { good: 0, bad: 0, all: 0, maintenance: 0 };
  const { interval_ms, maintenance } = service;
  for (let start_ms = 0; start_ms < part.until_ms; start_ms += interval_ms) {
    if (start_ms < part.from_ms) continue;
    const hasEnded = start_ms + interval_ms <= now_ms;
    if (maintenance.some(({ from_ms, until_ms }) => start_ms >= from_ms && start_ms < until_ms)) {
      if (hasEnded) counts.maintenance += 1;
      continue;
    }
    const codes = rows
      .filter((row) => row.service_id === service.serviceId)
      .filter(({ timestamp }) => {
        const at_ms = Date.parse(timestamp);
        return at_ms >= start_ms && at_ms < start_ms + interval_ms && at_ms <= now_ms;
      })
      .map(({ status_code }) => status_code);
    const isBad = codes.includes(2);
    const isGood = !isBad && codes.some((code) => code === 0 || code === 1);
    if (isBad) counts.bad += 1;
    if (isGood) counts.good += 1;
    if (hasEnded || isBad || isGood) counts.all += 1;
  }
  return counts;
}

describe('availability', () => {
  const minute_ms = 60_000;
  const time = fc.integer({ min: 0, max: 4 * 3_600_000 });
  const window = fc.tuple(time, fc.integer({ min: 1, max: 3_600_000 })).map(([from, length]) => ({
    from_ms: base_ms + from,
    until_ms: base_ms + from + length,
  }));
  const service = fc.record({
    interval_ms: fc.constantFrom(minute_ms, 5 * minute_ms, 7 * minute_ms),
    maintenance: fc.array(window, { maxLength: 3 }).map(mergedWindows),
  });
  const row = fc.record({ service: fc.nat({ max: 2 }), at: time, code: fc.integer({ min: 0, max: 5 }) });

  test('counts what a look at each slot counts, from the hot buffer and from ClickHouse', async ({
    instance,
    dataset,
  }) => {
    await createStatusTable(instance, dataset);
    let runs = 0;
    const cases = fc.record({
      services: fc.array(service, { minLength: 3, maxLength: 3 }),
      rows: fc.array(row, { minLength: 1, maxLength: 150 }),
      flushed: fc.integer({ min: 0, max: 150 }),
      from: time,
      length: fc.integer({ min: 1, max: 4 * 3_600_000 }),
      now: fc.integer({ min: 0, max: 5 * 3_600_000 }),
      every_ms: fc.constantFrom(undefined, 15 * minute_ms, 3_600_000),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ services: shapes, rows, flushed, from, length, now, every_ms }) => {
        runs += 1;
        // Services of its own for each run.
        const idOf = (n: number) => `r${runs}-${n}`;
        const sent = rows.map(({ service: n, at, code }) => {
          return { service_id: idOf(n), timestamp: text(base_ms + at), status_code: code };
        });
        await sendStatus(instance, dataset, sent.slice(0, flushed));
        if (flushed > 0) await flushStatus(instance, dataset);
        await sendStatus(instance, dataset, sent.slice(flushed));
        const services = shapes.map((shape, n) => ({ ...shape, serviceId: idOf(n) }));
        const range = { from_ms: base_ms + from, until_ms: base_ms + from + length, now_ms: base_ms + now, every_ms };
        const found = await countAvailability(instance, allRows, dataset, services, range);
        for (const each of services) {
          const parts = [...(found.get(each.serviceId) ?? [])];
          const starts = parts.map(([start_ms]) => start_ms);
          parts.forEach(([start_ms, counts], i) => {
            const part = { from_ms: start_ms, until_ms: starts[i + 1] ?? range.until_ms };
            expect({ start_ms, ...counts }).toEqual({
              start_ms,
              ...naiveCount(each, sent, { part, now_ms: range.now_ms }),
            });
          });
          expect(starts.at(0)).toBe(range.from_ms);
        }
      }),
      { numRuns: 12 },
    );
  });

  test('a service of which nothing is stored has slots and no known one', async ({ instance, dataset }) => {
    const service = { serviceId: 'a', interval_ms: 60_000, maintenance: [] };
    const range = { from_ms: base_ms, until_ms: base_ms + 3_600_000, now_ms: base_ms + 3_600_000 };
    const found = await countAvailability(instance, allRows, dataset, [service], range);
    expect([...(found.get('a')?.values() ?? [])]).toEqual([{ good: 0, bad: 0, all: 60, maintenance: 0 }]);
  });
});

describe('the current status', () => {
  const config = { statusConfig: null, interval: '1m' };

  test('is that of the newest row, not of a row of the future; equal times count in the order of receipt', async ({
    instance,
    dataset,
  }) => {
    await createStatusTable(instance, dataset);
    const at = (minute: number) => text(base_ms + minute * 60_000);
    const one = (timestamp: string, status_code: number, message: string) => {
      return sendStatus(instance, dataset, [{ service_id: 'a', timestamp, status_code, message }]);
    };
    await one(at(0), 2, 'a');
    await one(at(0), 0, 'b');
    await one(at(30), 2, 'c');
    await one(at(20), 5, 'd');
    const current = async (minute: number) => {
      const services = [{ ...config, serviceId: 'a' }];
      const found = await readCurrent(instance, allRows, dataset, services, base_ms + minute * 60_000);
      return found.get('a');
    };
    const expectAll = async () => {
      expect(await current(1)).toMatchObject({ statusCode: 0, message: 'b' });
      expect(await current(31)).toMatchObject({ statusCode: 2, message: 'c' });
      expect(await current(21)).toMatchObject({ statusCode: 5, known: { statusCode: 0, at_ms: base_ms } });
      expect(await current(-1)).toBeUndefined();
    };
    await expectAll();
    await flushStatus(instance, dataset);
    await expectAll();
  });
});

describe('the history', () => {
  test('has the rows of each part by code, the mean response time, and parts without rows', async ({
    instance,
    dataset,
  }) => {
    await createStatusTable(instance, dataset);
    const rows = [
      { at: 0, status_code: 0, response_time_ms: 100 },
      { at: 1, status_code: 2 },
      { at: 2, status_code: 1, response_time_ms: 200 },
      { at: 130, status_code: 4 },
    ].map(({ at, ...rest }) => ({ service_id: 'a', timestamp: text(base_ms + at * 60_000), ...rest }));
    await sendStatus(instance, dataset, rows);
    const service = { serviceId: 'a', interval_ms: 60_000, maintenance: [] };
    const range = {
      from_ms: base_ms,
      until_ms: base_ms + 10_800_000,
      now_ms: base_ms + 10_800_000,
      every_ms: 3_600_000,
    };
    const parts = await readHistory(instance, allRows, dataset, service, range);
    expect(
      parts.map(({ start_ms, slots: _, ...part }) => ({ hour: (start_ms - base_ms) / 3_600_000, ...part })),
    ).toEqual([
      { hour: 0, rows: 3, counts: [1, 1, 1, 0, 0, 0], responseTime_ms: 150 },
      { hour: 1, rows: 0, counts: [0, 0, 0, 0, 0, 0], responseTime_ms: null },
      { hour: 2, rows: 1, counts: [0, 0, 0, 0, 1, 0], responseTime_ms: null },
    ]);
    expect(parts.map(({ slots }) => slots)).toEqual([
      { good: 2, bad: 1, all: 60, maintenance: 0 },
      { good: 0, bad: 0, all: 60, maintenance: 0 },
      { good: 0, bad: 0, all: 60, maintenance: 0 },
    ]);
  });
});
