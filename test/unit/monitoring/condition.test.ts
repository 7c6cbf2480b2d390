import { describe, expect, test } from 'vitest';
import { compares, parseCondition } from '../../../src/monitoring/alerts/condition.ts';

describe('a condition', () => {
  test.each([
    ['failures_in_a_row >=', { kind: 'failures-in-a-row', isDegradedCounted: false, comparison: '>=' }],
    ['failures_in_a_row(degraded) >', { kind: 'failures-in-a-row', isDegradedCounted: true, comparison: '>' }],
    ['failure_rate over 5m >', { kind: 'failure-rate', window_ms: 300_000, comparison: '>' }],
    [
      'p95(response_time_ms)over 1h30m>=',
      { kind: 'status', function: 'p95', column: 'response_time_ms', window_ms: 5_400_000, comparison: '>=' },
    ],
    [
      "metric(queue_depth, max) over 5m where tags.host = 'a' and tags.zone = 'it\\'s' >",
      {
        kind: 'metric',
        metric: 'queue_depth',
        function: 'max',
        tags: [
          { name: 'host', value: 'a' },
          { name: 'zone', value: "it's" },
        ],
        window_ms: 300_000,
        comparison: '>',
      },
    ],
    [
      "metric('a b', last) over 90s ==",
      { kind: 'metric', metric: 'a b', function: 'last', tags: [], window_ms: 90_000, comparison: '==' },
    ],
    [
      "logs(level = ERROR, contains = 'timeout') over 10m >=",
      { kind: 'logs', level: 'ERROR', contains: 'timeout', window_ms: 600_000, comparison: '>=' },
    ],
    ['logs() over 10m <', { kind: 'logs', window_ms: 600_000, comparison: '<' }],
    ['  no_data  > ', { kind: 'no-data', comparison: '>' }],
    ['cert_days <', { kind: 'certificate-days', comparison: '<' }],
  ])('%s', (text, condition) => {
    expect(parseCondition(text)).toEqual({ condition });
  });

  test.each([
    ['', 'one of failures_in_a_row'],
    ['failure_rate', 'over <window> is missing before the end'],
    ['failure_rate over 5 months >', '5 is no window'],
    ['failure_rate over 0s >', '0s is no window'],
    ['failure_rate over 5m', 'ends with a comparison'],
    ['failure_rate over 5m > 30', 'the number is the threshold'],
    ['avg(message) over 5m >', 'message is no number of service_status'],
    ['stddev(response_time_ms) over 5m >', 'stddev is unknown'],
    ['metric(queue_depth) over 5m >', ', is missing before )'],
    ["metric(q, max) over 5m where host = 'a' >", 'where compares tags.<name>'],
    ['metric(q, max) over 5m where tags.host = a >', 'in single quotes is missing before a'],
    ['logs(level = FATAL) over 5m >', 'FATAL is no level'],
    ['burn_rate(api, 5m, 1h) >', 'burn_rate is unknown'],
    ['no_data > ; drop', 'is not understood'],
    ["logs(contains = 'open) over 5m >", 'is not understood'],
  ])('%s is refused in words', (text, problem) => {
    expect(parseCondition(text)).toEqual({ problem: expect.stringContaining(problem) });
  });

  test('compares a value with the threshold', () => {
    const sides = (value: number) =>
      (['>', '>=', '<', '<=', '==', '!='] as const).map((each) => compares(value, each, 2));
    expect([sides(1), sides(2), sides(3)]).toEqual([
      [false, false, true, true, false, true],
      [false, true, false, true, true, false],
      [true, true, false, false, false, true],
    ]);
  });
});
