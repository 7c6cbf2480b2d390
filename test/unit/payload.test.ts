import { expect, test } from 'vitest';
import { identifiedLines, identifiedRows } from '../../src/buffer/batch-rows.ts';
import { schemaOf } from './schema/support.ts';

const batch = {
  seq: 7,
  id: 'b',
  rows: 2,
  receivedAt_ms: 1_777_630_000_123,
  schemaVersion: 1,
  timeMin_ms: 0,
  timeMax_ms: 0,
  meta: '',
  payload: '{"_row":0,"s":"\\n{\\"_row\\":9"}\n{"_row":1}\n',
};
const identity = { _seq: 7, _received_at: '2026-05-01 10:06:40.123' };
const parsed = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('each row of a batch gets its identity in front, and nothing within a row is touched', () => {
  expect(parsed(identifiedRows(batch, schemaOf(), 2))).toEqual([
    { _lane: 2, ...identity, _row: 0, s: '\n{"_row":9' },
    { _lane: 2, ...identity, _row: 1 },
  ]);
});

test('some of the rows are taken by their place', () => {
  expect(identifiedLines(batch, schemaOf(), (row) => row === 1).map((line) => JSON.parse(line))).toEqual([
    { ...identity, _row: 1 },
  ]);
});

test('the partition key of a batch is in each of its rows, and so are defaults that are younger than the batch', () => {
  const schema = schemaOf(
    { name: 'old', type: 'string', default: '"not this"', since: 1 },
    { name: 'new', type: 'integer', default: '9007199254740993', since: 2 },
  );
  const meta = JSON.stringify({ key: { region: 'e"u' }, attributes: { n: 1 } });
  const text = identifiedRows({ ...batch, meta }, schema);
  expect(text.split('\n')[1]).toContain('"new":9007199254740993,"_row":1}');
  expect(parsed(text)[1]).toMatchObject({ ...identity, _partition: { region: 'e"u' } });
  expect(text).not.toContain('not this');
});
