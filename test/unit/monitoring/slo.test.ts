import { describe, expect, test } from 'vitest';
import { mergedWindows, windowsWithin } from '../../../src/monitoring/maintenance-windows.ts';
import { availabilityOf, percentText } from '../../../src/monitoring/page/availability.ts';
import { budgetOf, burnRate, burnWindows, isBurning } from '../../../src/monitoring/page/slo.ts';
import { countSlots } from '../../../src/monitoring/page/slots.ts';
import { maintenanceDefinition } from '../../../src/monitoring/resources/mutes.ts';

describe('a percentage', () => {
  test('is never rounded up to 100', () => {
    expect(percentText(99.996)).toBe('99.99%');
    expect(percentText(99.999)).toBe('99.99%');
    expect(percentText(100)).toBe('100.00%');
    expect(percentText(99.97)).toBe('99.97%');
    expect(availabilityOf({ good: 999_999_999, bad: 1, all: 1_000_000_000, maintenance: 0 })).toEqual({
      availability: 99.999,
      coverage: 100,
    });
  });

  test('of nothing is unknown, and not 0 or 100', () => {
    expect(availabilityOf({ good: 0, bad: 0, all: 60, maintenance: 0 })).toEqual({ availability: null, coverage: 0 });
    expect(availabilityOf({ good: 0, bad: 0, all: 0, maintenance: 9 })).toEqual({ availability: null, coverage: null });
  });
});

describe('an SLO of 99.9 % with a check a minute', () => {
  const slo = { target: 99.9, minBad: 3 };
  const [page] = burnWindows;

  test('does not page for one failure, though its rate is above the factor', () => {
    const long = { good: 59, bad: 1 };
    expect(burnRate(99.9, long)).toBeGreaterThan(page.factor);
    expect(isBurning(slo, page.factor, { long, short: { good: 4, bad: 1 } })).toBe(false);
    expect(isBurning({ ...slo, minBad: 1 }, page.factor, { long, short: { good: 4, bad: 1 } })).toBe(true);
  });

  test('pages for three failures in five minutes, and no longer once the short window is over them', () => {
    const long = { good: 57, bad: 3 };
    expect(isBurning(slo, page.factor, { long, short: { good: 2, bad: 3 } })).toBe(true);
    expect(isBurning(slo, page.factor, { long, short: { good: 5, bad: 0 } })).toBe(false);
    expect(isBurning(slo, page.factor, { long, short: { good: 0, bad: 0 } })).toBe(false);
  });

  test('has about half a percent of its budget left after 43 bad minutes in 30 days', () => {
    const { allowed, left } = budgetOf(99.9, { bad: 43, all: 30 * 1_440 });
    expect(allowed).toBeCloseTo(43.2);
    expect(left).toBeCloseTo(0.0046, 4);
    expect(budgetOf(99.9, { bad: 50, all: 30 * 1_440 }).left).toBeLessThan(0);
  });
});

describe('slots', () => {
  test('belong to the window in which they begin, and count once they have ended', () => {
    const service = { serviceId: 'a', interval_ms: 60_000, maintenance: [{ from_ms: 90_000, until_ms: 180_000 }] };
    const range = { from_ms: 1, until_ms: 600_000 };
    expect(countSlots(service, range, 600_000)).toEqual({ slots: 9, maintenance: 1 });
    expect(countSlots(service, range, 239_999)).toEqual({ slots: 2, maintenance: 1 });
    expect(countSlots(service, range, 0)).toEqual({ slots: 0, maintenance: 0 });
  });
});

describe('maintenance windows', () => {
  const within = (definition: object, from: string, until: string) => {
    const parsed = maintenanceDefinition.parse({ title: 't', services: ['*'], ...definition });
    return windowsWithin(parsed, Date.parse(from), Date.parse(until)).map(({ from_ms, until_ms }) => [
      new Date(from_ms).toISOString().slice(0, 16),
      new Date(until_ms).toISOString().slice(0, 16),
    ]);
  };
  const nightly = { cron: '30 2 * * *', duration: '1h', timeZone: 'Europe/Berlin' };

  test('follow the wall clock of their zone, and last for elapsed time', () => {
    expect(within(nightly, '2026-01-10T00:00Z', '2026-01-11T00:00Z')).toEqual([
      ['2026-01-10T01:30', '2026-01-10T02:30'],
    ]);
    // In the gap of spring and once in the hour that autumn repeats.
    expect(within(nightly, '2026-03-29T00:00Z', '2026-03-30T00:00Z')).toEqual([
      ['2026-03-29T01:00', '2026-03-29T02:00'],
    ]);
    expect(within(nightly, '2026-10-25T00:00Z', '2026-10-26T00:00Z')).toEqual([
      ['2026-10-25T00:30', '2026-10-25T01:30'],
    ]);
  });

  test('include the one that runs at the start, and exclude their ends', () => {
    expect(within(nightly, '2026-01-10T02:29:59Z', '2026-01-10T02:30Z')).toHaveLength(1);
    expect(within(nightly, '2026-01-10T02:30Z', '2026-01-10T02:31Z')).toEqual([]);
    expect(within(nightly, '2026-01-10T01:30Z', '2026-01-10T01:31Z')).toHaveLength(1);
    expect(within(nightly, '2026-01-10T01:29Z', '2026-01-10T01:30Z')).toEqual([]);
    const once = { from: '2026-01-10T10:00:00Z', until: '2026-01-10T11:00:00Z' };
    expect(within(once, '2026-01-10T10:59Z', '2026-01-10T12:00Z')).toHaveLength(1);
    expect(within(once, '2026-01-10T11:00Z', '2026-01-10T12:00Z')).toEqual([]);
  });

  test('of a day each day are one window', () => {
    const parsed = maintenanceDefinition.parse({
      title: 't',
      services: ['*'],
      cron: '0 0 * * *',
      duration: '1d',
      timeZone: 'UTC',
    });
    const [from_ms, until_ms] = [Date.parse('2026-05-01T12:00Z'), Date.parse('2026-05-20T12:00Z')];
    expect(mergedWindows(windowsWithin(parsed, from_ms, until_ms))).toEqual([
      { from_ms: Date.parse('2026-05-01'), until_ms: Date.parse('2026-05-21') },
    ]);
  });
});
