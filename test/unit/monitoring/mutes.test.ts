import { describe, expect, test } from 'vitest';
import { silenceOf } from '../../../src/monitoring/alerts/mutes.ts';
import { matchesGlob } from '../../../src/monitoring/glob.ts';
import { isOpen } from '../../../src/monitoring/maintenance-windows.ts';
import { maintenanceDefinition, silenceDefinition } from '../../../src/monitoring/resources/mutes.ts';

function window(fields: Record<string, string>) {
  return maintenanceDefinition.parse({ title: 'Backup', services: ['*'], ...fields });
}

const nightly = window({ cron: '30 2 * * *', duration: '1h', timeZone: 'Europe/Berlin' });
const evening = window({ cron: '0 23 * * 1,4', duration: '4h', timeZone: 'Europe/Amsterdam' });
const always = window({ cron: '0 0 * * *', duration: '24h', timeZone: 'Europe/Berlin' });
const once = window({ from: '2026-05-01T10:00:00Z', until: '2026-05-01T13:00:00+02:00' });

/** Instants, and whether a window is open then. */
const instants: [string, ReturnType<typeof window>, string, boolean][] = [
  ['before a night that skips the hour', nightly, '2026-03-29T00:59:59.999Z', false],
  ['at the end of the skipped hour', nightly, '2026-03-29T01:00:00Z', true],
  ['until an hour has passed', nightly, '2026-03-29T01:59:59.999Z', true],
  ['and not at its end', nightly, '2026-03-29T02:00:00Z', false],
  ['in the first of two equal hours', nightly, '2026-10-25T00:30:00Z', true],
  ['until an hour has passed', nightly, '2026-10-25T01:29:59.999Z', true],
  ['and not in the second one', nightly, '2026-10-25T01:30:00Z', false],
  ['nor until its end', nightly, '2026-10-25T02:29:59Z', false],
  ['before a usual night', nightly, '2026-01-10T01:29:59.999Z', false],
  ['in a usual night', nightly, '2026-01-10T01:30:00Z', true],
  ['after a usual night', nightly, '2026-01-10T02:30:00Z', false],
  ['past midnight of the day after', evening, '2026-06-02T00:59:00Z', true],
  ['at its end past midnight', evening, '2026-06-02T01:00:00Z', false],
  ['on a day without a start', evening, '2026-06-03T22:00:00Z', false],
  ['where one window begins as another ends', always, '2026-06-01T22:00:00Z', true],
  ['on a day of 23 hours', always, '2026-03-29T12:00:00Z', true],
  ['at the start of a single window', once, '2026-05-01T10:00:00Z', true],
  ['at the end of a single window', once, '2026-05-01T11:00:00Z', false],
];

describe('a maintenance window is open or not', () => {
  test.each(instants)('%s', (_, mute, at, expected) => {
    expect(isOpen(mute, Date.parse(at))).toBe(expected);
  });

  test('whatever was asked before', () => {
    const reversed = [...instants].reverse();
    const answers = reversed.map(([, mute, at]) => isOpen(mute, Date.parse(at)));
    expect(answers).toEqual(reversed.map(([, , , expected]) => expected));
  });
});

describe('a silence', () => {
  const silence = {
    ...silenceDefinition.parse({
      matchers: [
        { label: 'service_id', op: '=~', value: 'pay-*-eu' },
        { label: 'severity', op: '!=', value: 'critical' },
      ],
      from: '2026-05-01T10:00:00Z',
      until: '2026-05-01T11:00:00Z',
    }),
    silenceId: 'deploy',
  };
  const labels = { service_id: 'pay-api-eu', severity: 'error' };
  const found = (some: Record<string, string>, at: string) =>
    silenceOf([silence], { ...labels, ...some }, Date.parse(at));

  test('matches alerts that have all of its labels, from its start and not at its end', () => {
    expect(found({}, '2026-05-01T10:00:00Z')).toBe('deploy');
    expect(found({}, '2026-05-01T10:59:59.999Z')).toBe('deploy');
    expect(found({}, '2026-05-01T09:59:59.999Z')).toBeUndefined();
    expect(found({}, '2026-05-01T11:00:00Z')).toBeUndefined();
    expect(found({ severity: 'critical' }, '2026-05-01T10:30:00Z')).toBeUndefined();
    expect(found({ service_id: 'pay-api-us' }, '2026-05-01T10:30:00Z')).toBeUndefined();
  });

  test.each([
    ['ab', 'a*b', true],
    ['a', 'a*a', false],
    ['aa', 'a*a', true],
    ['a.b', 'a?b', false],
    ['abcabd', 'ab*bd', true],
    ['x', '*', true],
    ['', '*', true],
    ['aXbXc', 'a*X*X*c', true],
    ['aXbc', 'a*X*X*c', false],
  ])('%s against the glob %s: %s', (text, glob, expected) => {
    expect(matchesGlob(glob, text)).toBe(expected);
  });
});
