import { describe, expect, test } from 'vitest';
import type { AlertInstance } from '../../../src/monitoring/alerts/instance.ts';
import { owedNotices } from '../../../src/monitoring/alerts/notice-plan.ts';
import { normalInstance } from '../../../src/monitoring/alerts/state-machine.ts';
import { ruleDefinition } from '../../../src/monitoring/resources/rule.ts';

const minute_ms = 60_000;
const rule = {
  ...ruleDefinition.parse({
    ruleName: 'API down',
    serviceId: 'api',
    condition: 'failures_in_a_row >=',
    threshold: 2,
    notificationChannels: ['chat', 'page'],
    repeat: '1h',
    escalation: [{ after: '10m', channels: ['lead'] }],
  }),
  ruleId: 'api-down',
  revision: 1,
  actor: 'admin',
};

function instance(some: Partial<AlertInstance['machine']>, told: AlertInstance['told'] = {}): AlertInstance {
  const machine = { ...normalInstance(1, 1), state: 'firing' as const, firedAt_ms: 0, ...some };
  return { ruleId: 'api-down', fingerprint: 'f', serviceId: 'api', labels: {}, machine, told };
}

const kinds = ({ notices }: ReturnType<typeof owedNotices>) =>
  notices.map(({ channel, kind, episode }) => `${channel} ${kind} ${episode}`);

/** What an instance owes at one time after the other. */
function over(at_minutes: number[], from: AlertInstance, isMuted = false) {
  let told = from.told;
  return at_minutes.map((at) => {
    const owed = owedNotices({ ...from, told }, rule, at * minute_ms, isMuted);
    told = owed.told;
    return kinds(owed);
  });
}

describe('a channel is notified', () => {
  test('once of an alert that fires, then after an hour, and later than its escalation', () => {
    expect(over([0, 1, 9, 10, 11, 59, 60, 61, 185], instance({}))).toEqual([
      ['chat fired 1', 'page fired 1'],
      [],
      [],
      ['lead step-1 1'],
      [],
      [],
      ['chat repeat-1 1', 'page repeat-1 1', 'lead repeat-1 1'],
      [],
      ['chat repeat-3 1', 'page repeat-3 1', 'lead repeat-3 1'],
    ]);
  });

  test('of the end, if it was notified of the beginning, whatever mutes it', () => {
    const told = { chat: { episode: 1, repeat: 0 }, lead: { episode: 1, repeat: 0 } };
    const over = instance({ state: 'normal' }, told);
    for (const isMuted of [true, false]) {
      expect(kinds(owedNotices(over, rule, minute_ms, isMuted))).toEqual(['chat resolved 1', 'lead resolved 1']);
    }
    expect(kinds(owedNotices(over, undefined, minute_ms, false))).toEqual(['chat resolved 1', 'lead resolved 1']);
    expect(kinds(owedNotices(instance({ state: 'normal' }), rule, minute_ms, false))).toEqual([]);
  });

  test('of an open alert when no mute holds any more', () => {
    const owed = owedNotices(instance({}), rule, minute_ms, true);
    expect([kinds(owed), owed.told]).toEqual([[], {}]);
    expect(over([5], { ...instance({}), told: owed.told })).toEqual([['chat fired 1', 'page fired 1']]);
  });

  test('of the end of one episode and the beginning of the next', () => {
    const told = { chat: { episode: 1, repeat: 0 } };
    const next = instance({ episode: 2, firedAt_ms: 60 * minute_ms }, told);
    expect(kinds(owedNotices(next, rule, 60 * minute_ms, false))).toEqual([
      'chat resolved 1',
      'chat fired 2',
      'page fired 2',
    ]);
  });

  test('of neither repetitions nor steps after an acknowledgement', () => {
    const acked = instance({ ackedBy: 'key' }, { chat: { episode: 1, repeat: 0 } });
    expect(over([120], acked)).toEqual([['page fired 1']]);
    expect(over([120], { ...acked, told: { ...acked.told, page: { episode: 1, repeat: 0 } } })).toEqual([[]]);
  });

  test('once by a cron that comes twice or not for hours', () => {
    const told = { chat: { episode: 1, repeat: 0 }, page: { episode: 1, repeat: 0 } };
    const quiet = { ...instance({}, told) };
    expect(over([300, 300], quiet)).toEqual([['lead step-1 1', 'chat repeat-5 1', 'page repeat-5 1'], []]);
  });
});
