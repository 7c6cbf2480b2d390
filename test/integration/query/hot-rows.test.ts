import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { multipartRequest } from '../../../src/query/execution/multipart-request.ts';
import { hotJson } from '../../../src/query/hot/values.ts';
import { compareText, containsText, likeText } from '../../../src/query/request/text-match.ts';
import type { Table } from '../../../src/schema/table.ts';
import { arrayText, parameterText } from '../../../src/stores/clickhouse/parameter.ts';
import { at, clickhouseAt, flush, newDataset, newInstance, newTable, query, send } from '../support.ts';
import { fields, rawQuery, rowText, start } from './generated.ts';

const ctx = newInstance();
/** An instance without ClickHouse. */
const alone = newInstance(clickhouseAt('http://127.0.0.1:1'));

const rowsText = ({ text }: { text: string }) => /"rows":(\[.*\]),"warnings"/s.exec(text)?.[1];

async function sendText({ dataset, name }: Table, rows: string[]): Promise<void> {
  const request = { dataset, table: name, text: rows.join('\n'), format: 'ndjson', idempotencyKey: undefined } as const;
  await ingestRows(ctx, request);
}

test('without ClickHouse the answer is the one that ClickHouse would have given, to the byte', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowText, { minLength: 1, maxLength: 30 }),
      fc.array(rawQuery, { minLength: 12, maxLength: 12 }),
      async (rows, queries) => {
        const table = await newTable(ctx, 2, fields);
        await sendText(table, rows);
        for (const each of queries) {
          const [there, here] = [await query(ctx, table.dataset, each), await query(alone, table.dataset, each)];
          expect(here.mode).toBe('hot-buffer-only');
          expect(rowsText(here)).toBe(rowsText(there));
          expect({ columns: here.columns, cursor: here.cursor }).toEqual({
            columns: there.columns,
            cursor: there.cursor,
          });
        }
      },
    ),
    { numRuns: 8, endOnFailure: true },
  );
});

test('numbers of vectors are written as ClickHouse writes them', async () => {
  const bits = new DataView(new ArrayBuffer(4));
  const float = (n: number) => {
    bits.setUint32(0, n);
    return bits.getFloat32(0);
  };
  const random = Array.from({ length: 20_000 }, () => Math.floor(Math.random() * 2 ** 32));
  // Subnormal ones, the ends of what there is, and where many digits end in a five.
  const awkward = [0, 1, 2, 3, 0x007fffff, 0x00800000, 0x7f7fffff, 0x80000000, 0x80000001];
  const halves = Array.from({ length: 4_000 }, (_, n) => Math.fround((2 * n + 1) * 2 ** ((n % 40) - 12)));
  const floats = [...[...random, ...awkward].map(float).filter(Number.isFinite), ...halves];
  for (let from = 0; from < floats.length; from += 5_000) {
    const some = floats.slice(from, from + 5_000);
    const patterns = some.map((each) => {
      bits.setFloat32(0, each);
      return bits.getUint32(0);
    });
    const sql = 'SELECT arrayMap(x -> reinterpretAsFloat32(toUInt32(x)), {bits:Array(UInt32)}) AS v FORMAT JSONEachRow';
    const { body, settings } = multipartRequest(sql, { param_bits: `[${patterns}]` });
    const answer = await ctx.reader.send({ settings, body, timeout_ms: 30_000 });
    const there = answer.trim().slice('{"v":['.length, -']}'.length).split(',');
    const here = hotJson(`vector(${some.length})`, some).slice(1, -1).split(',');
    expect(there.flatMap((text, n) => (text === here[n] ? [] : [[text, here[n]]]))).toEqual([]);
  }
});

/** Few letters, so that they meet: what has a meaning in a pattern, ends a line or a string, or has several bytes or units. */
const few = (maxLength: number) => {
  const letter = fc.constantFrom(
    'a',
    'b',
    'A',
    '%',
    '_',
    '\\',
    '\n',
    '\0',
    'ä',
    '€',
    '\uffff',
    '😀',
    '.',
    '*',
    '$',
    '[',
  );
  return fc.array(letter, { maxLength }).map((letters) => letters.join(''));
};
const isPattern = (text: string) => !/(?<!\\)(?:\\\\)*\\$/.test(text);

test('texts are found, matched and put in order as ClickHouse does it', async () => {
  const of = (test: ((text: string) => boolean) | undefined, texts: string[]) =>
    texts.map((text) => Number(test?.(text)));
  await fc.assert(
    fc.asyncProperty(
      few(7),
      few(12).filter(isPattern),
      fc.array(few(9), { minLength: 20, maxLength: 60 }),
      async (needle, pattern, some) => {
        const texts = [...some, ...some.map((each) => `${each.slice(0, 3)}${needle}${each.slice(3)}`.toWellFormed())];
        const each = (is: string) => `arrayMap(t -> toUInt8(${is}), {t:Array(String)})`;
        const { body, settings } = multipartRequest(
          `SELECT ${each('t LIKE {p:String}')} AS l, ${each('t NOT LIKE {p:String}')} AS n, ${each('position(t, {s:String}) > 0')} AS c,
          ${each('startsWith(t, {s:String})')} AS b, ${each('endsWith(t, {s:String})')} AS e, ${each('t < {s:String}')} AS o
         FORMAT JSONEachRow`,
          { param_t: arrayText(texts), param_p: parameterText(pattern), param_s: parameterText(needle) },
        );
        const answer = await ctx.reader.send({ settings, body, timeout_ms: 30_000 });
        const like = likeText(pattern);
        expect({
          l: of(like, texts),
          n: of(like && ((text) => !like(text)), texts),
          c: of(containsText(needle), texts),
          b: of((text) => text.startsWith(needle), texts),
          e: of((text) => text.endsWith(needle), texts),
          o: of((text) => compareText(text, needle) < 0, texts),
        }).toEqual(JSON.parse(answer));
      },
    ),
    { numRuns: 100, endOnFailure: true },
  );
});

describe('without ClickHouse', () => {
  test('a range that begins after everything flushed is answered, and says from where', async () => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [
      { timestamp: at(3), v: 3 },
      { timestamp: at(1), v: 0 },
    ]);
    const timeRange = { start: new Date(Date.parse(at(1)) + 1).toISOString() };
    const answer = await query(alone, dataset, { timeRange, requireFresh: true });
    expect(answer.rows).toEqual([{ timestamp: at(3), v: 3 }]);
    expect(answer).toMatchObject({ mode: 'hot-buffer-only', streaming: { fresh: true, bufferState: 'ready' } });
    expect(answer.warnings).toEqual([expect.stringContaining('ClickHouse is unavailable')]);
  });

  test.each<[string, object]>([
    ['a range that ClickHouse may have rows of', { timeRange: { start: at(1) } }],
    ['a range without a beginning', {}],
    [
      'an aggregate',
      { timeRange: { start: at(2) }, downsample: { intervalUnit: 'day', aggregations: [{ function: 'count' }] } },
    ],
    [
      'a regular expression',
      { timeRange: { start: at(2) }, filters: { columns: [{ column: 's', op: 'matches', value: 'a' }] } },
    ],
    [
      'a pattern in any case',
      { timeRange: { start: at(2) }, filters: { columns: [{ column: 's', op: 'ilike', value: 'a%' }] } },
    ],
    [
      'a pattern with many places that may hold anything, behind a %',
      {
        timeRange: { start: at(2) },
        filters: { columns: [{ column: 's', op: 'like', value: `%${'a_'.repeat(17)}a%` }] },
      },
    ],
  ])('%s gets no answer', async (_, body) => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), s: 'a' }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(3), s: 'b' }]);
    await expect(query(alone, dataset, body)).rejects.toMatchObject({ code: 'unavailable', store: 'clickhouse' });
  });

  test('a table of whose flushes the buffer has forgotten gets no answer', async () => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    const table = await newTable(ctx);
    const { tableOf } = await import('../support.ts');
    const lost = await tableOf(ctx, dataset);
    await ctx.redis.del(ctx.keys.state(lost, 0), ctx.keys.log(lost, 0));
    await send(ctx, dataset, [{ timestamp: at(3), v: 3 }]);
    await expect(query(alone, dataset, { timeRange: { start: at(2) } })).rejects.toMatchObject({ code: 'unavailable' });
    // One that was never flushed is known to be there in whole.
    await sendText(table, [`{"timestamp":"${at(1)}","v":1}`]);
    expect((await query(alone, table.dataset, { timeRange: { start } })).rows).toHaveLength(1);
  });
});
