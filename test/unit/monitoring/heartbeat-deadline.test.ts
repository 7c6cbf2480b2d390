import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkProblems } from '../../../src/monitoring/checks/check-problems.ts';
import { type Heartbeat, heartbeatDeadline } from '../../../src/monitoring/checks/heartbeat-deadline.ts';
import { checkConfig } from '../../../src/monitoring/resources/check.ts';

const heartbeat = (config: object) => checkConfig.parse({ check: 'heartbeat', ...config }) as Heartbeat;
const utc = (text: string) => Date.parse(`2026-${text}Z`);
const iso = (time_ms: number | null) => (time_ms === null ? null : new Date(time_ms).toISOString().slice(5, 19));

const hourly = heartbeat({ period: '1h', grace: '10m' });

test('a period and its grace: the deadline is the time of the event, whenever it is evaluated', () => {
  const ping = utc('05-01T10:00:00');
  expect(heartbeatDeadline(hourly, ping, null, utc('05-01T11:09:59')).isMissed).toBe(false);
  const late = heartbeatDeadline(hourly, ping, null, utc('05-01T11:10:37'));
  expect([iso(late.deadline_ms), late.isMissed]).toEqual(['05-01T11:10:00', true]);
  const pinged = heartbeatDeadline(hourly, utc('05-01T11:10:20'), null, utc('05-01T11:10:37'));
  expect([iso(pinged.deadline_ms), pinged.isMissed]).toEqual(['05-01T12:20:20', false]);
});

test('nothing is missed before the first signal', () => {
  expect(heartbeatDeadline(hourly, null, null, utc('05-01T10:00:00'))).toEqual({ deadline_ms: null, isMissed: false });
});

test('a start without an end is missed after the grace; an end satisfies it', () => {
  const [ping, start] = [utc('05-01T10:00:00'), utc('05-01T10:30:00')];
  expect(iso(heartbeatDeadline(hourly, ping, start, start).deadline_ms)).toBe('05-01T10:40:00');
  expect(iso(heartbeatDeadline(hourly, null, start, start).deadline_ms)).toBe('05-01T10:40:00');
  expect(iso(heartbeatDeadline(hourly, utc('05-01T10:35:00'), start, start).deadline_ms)).toBe('05-01T11:45:00');
});

const london = heartbeat({ cron: '0 8 * * *', timeZone: 'Europe/London', grace: '10m' });

test.each([
  ['the run at 8:00 BST on the day of the change', '03-29T07:00:00', '03-30T07:10:00'],
  ['a signal up to a minute early', '03-29T06:59:00', '03-30T07:10:00'],
  ['a signal more than a minute early', '03-29T06:58:59', '03-29T07:10:00'],
  ['the day before the change, 8:00 GMT', '03-28T08:00:00', '03-29T07:10:00'],
  ['the day before the change back', '10-24T07:00:00', '10-25T08:10:00'],
  ['milliseconds before the run', '03-29T06:59:59.500', '03-30T07:10:00'],
])('cron: %s', (_name, signal, deadline) => {
  expect(iso(heartbeatDeadline(london, utc(signal), null, utc(signal)).deadline_ms)).toBe(deadline);
});

test('a run in the gap or in the repeated hour is expected once', () => {
  const berlin = heartbeat({ cron: '30 2 * * *', timeZone: 'Europe/Berlin', grace: '0s' });
  const next = (signal: string) => iso(heartbeatDeadline(berlin, utc(signal), null, utc(signal)).deadline_ms);
  expect(next('03-28T02:00:00')).toBe('03-29T01:00:00');
  expect(next('03-29T01:00:00')).toBe('03-30T00:30:00');
  expect(next('10-24T12:00:00')).toBe('10-25T00:30:00');
  expect(next('10-25T00:30:00')).toBe('10-26T01:30:00');
});

test('of several missed runs, the event has the time of the first', () => {
  const found = heartbeatDeadline(london, utc('03-29T07:00:00'), null, utc('04-05T12:00:00'));
  expect([iso(found.deadline_ms), found.isMissed]).toEqual(['03-30T07:10:00', true]);
});

test('a later signal never gives an earlier deadline', () => {
  const signal = fc.integer({ min: utc('03-01T00:00:00'), max: utc('11-30T00:00:00') });
  fc.assert(
    fc.property(fc.constantFrom(hourly, london), signal, signal, (config, a, b) => {
      const of = (signal_ms: number) => heartbeatDeadline(config, signal_ms, null, b).deadline_ms ?? 0;
      expect(of(Math.max(a, b))).toBeGreaterThanOrEqual(of(Math.min(a, b)));
      expect(of(a)).toBeGreaterThan(a);
    }),
  );
});

test.each([
  [{ cron: 'every day', timeZone: 'Europe/London' }, /not a cron expression/],
  [{ cron: '0 0 31 2 *', timeZone: 'Europe/London' }, /no run in the future/],
])('%j is refused', (config, message) => {
  const settings = { TIMESTORE_LOCAL: false, TIMESTORE_MONITOR_PRIVATE: false, TIMESTORE_MONITOR_OWN_HOSTS: undefined };
  const problems = checkProblems(settings, { id: 'job', check: heartbeat(config) }, new Map());
  expect(problems).toEqual([{ path: expect.any(String), message: expect.stringMatching(message) }]);
});
