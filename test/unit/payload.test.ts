import { expect, test } from 'vitest';
import { identifiedRows } from '../../src/flush/payload.ts';

test('each row of a batch gets its identity in front, and nothing within a row is touched', () => {
  const payload = '{"_row":0,"s":"\\n{\\"_row\\":9"}\n{"_row":1}\n';
  const rows = identifiedRows({ seq: 7, receivedAt_ms: 1_777_630_000_123, payload }, 2);
  const identity = { _lane: 2, _seq: 7, _received_at: '2026-05-01 10:06:40.123' };
  expect(
    rows
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { ...identity, _row: 0, s: '\n{"_row":9' },
    { ...identity, _row: 1 },
  ]);
});
