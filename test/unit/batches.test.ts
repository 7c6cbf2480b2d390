import { expect, test } from 'vitest';
import { cutBatches, planChunks } from '../../src/ingest/split-batches.ts';

const rows = (...lines: string[]) => ({
  lines: lines.map((line) => `"s":"${line}"}`),
  times_ms: lines.map((_, i) => i * 86_400_000),
  added: [],
  errors: [],
  errorsTotal: 0,
  refused: [],
});

test('chunks are as large as they may be, in the order of the rows; a row that is larger is one by itself', () => {
  const prepared = rows('a'.repeat(30), 'b'.repeat(30), 'c'.repeat(500), 'd', 'e');
  const plan = planChunks(prepared, 120);
  expect(plan).toEqual({ rows: [2, 1, 2], quarantined: [] });
  const batches = [...cutBatches(prepared, plan, 'day')];
  expect(
    batches.map(({ payload }) =>
      payload
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ),
  ).toEqual([
    [
      { _row: 0, s: 'a'.repeat(30) },
      { _row: 1, s: 'b'.repeat(30) },
    ],
    [{ _row: 0, s: 'c'.repeat(500) }],
    [
      { _row: 0, s: 'd' },
      { _row: 1, s: 'e' },
    ],
  ]);
  expect(
    batches.map(({ rows: count, timeMin_ms, timeMax_ms, windows }) => [count, timeMin_ms, timeMax_ms, windows]),
  ).toEqual([
    [2, 0, 86_400_000, [0, 1]],
    [1, 172_800_000, 172_800_000, [2]],
    [2, 259_200_000, 345_600_000, [3, 4]],
  ]);
});

test('bytes are counted as UTF-8', () => {
  expect(planChunks(rows('üüüü', 'ü'), 52).rows).toEqual([1, 1]);
  expect(planChunks(rows('uuuu', 'u'), 52).rows).toEqual([2]);
});
