import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { type Format, formatNames, formats } from '../../../src/query/request/format.ts';
import { queryBody } from '../../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../../src/query/sql/run-sql.ts';
import type { Table } from '../../../src/schema/table.ts';
import { ClickHouseError } from '../../../src/stores/clickhouse/client.ts';
import { everyone, flush, newInstance, newTable } from '../support.ts';
import { downsampledQuery, fields, rawQuery, rowText } from './generated.ts';

const ctx = newInstance();
/** Has seen nothing of what the other one has. */
const other = newInstance();

const signal = new AbortController().signal;
const runs = Number(process.env.DIFFERENTIAL_RUNS ?? 3);

async function sendText({ dataset, name }: Table, rows: string[]): Promise<void> {
  const request = { dataset, table: name, text: rows.join('\n'), format: 'ndjson', idempotencyKey: undefined } as const;
  if (rows.length > 0) await ingestRows(ctx, request);
}

type Ask = (dataset: string) => Promise<Buffer>;

async function bytesOf(body: AsyncGenerator<Uint8Array | string>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(Buffer.from(part as string));
  return Buffer.concat(parts);
}

function structured(body: object, format: Format): Ask {
  return async (dataset) => {
    const { limit, ...rest } = body as { limit?: number };
    const asked = queryBody.parse({ tableName: 'm', ...rest, ...(limit !== undefined && { limit }) });
    return await bytesOf((await queryTable(other, everyone, dataset, asked, { format, signal })).body);
  };
}

function inSql(text: string, format: Format): Ask {
  return async (dataset) => {
    const asked = sqlBody.parse({ sql: text, dataset });
    return await bytesOf((await querySql(other, everyone, asked, { format, signal })).body);
  };
}

/** What an answer says of its rows, without what it says of itself. */
async function rowsOf(bytes: Buffer, format: Format): Promise<unknown> {
  if (format === 'ndjson' || format === 'csv') return bytes.toString();
  if (format !== 'json') return await readBack(bytes, format);
  const text = bytes.toString();
  const { columns, types, rows } = JSON.parse(text);
  // As text too: integers beyond 2^53 are others once they are read.
  return { columns, types, rows, text: /"rows":(\[.*?\]),"(?:warnings|statistics|totals)"/s.exec(text)?.[1] };
}

/** Columnar files hold rows in groups, which are as ClickHouse's blocks were: they are compared by what is read of them. */
async function readBack(bytes: Buffer, format: Format): Promise<unknown> {
  const file = `format(${formats[format].clickhouse}, unhex('${bytes.toString('hex')}'))`;
  const settings = { output_format_json_quote_64bit_integers: 1 };
  const ask = (text: string) => ctx.clickhouse.send({ settings, body: text, timeout_ms: 10_000 });
  // It finds no columns in an Arrow stream without rows, though it tells their types.
  const noRows = (error: unknown) =>
    error instanceof ClickHouseError && error.code === 10 ? '' : Promise.reject(error);
  const rows = await ask(`SELECT * FROM ${file} FORMAT JSONEachRow`).catch(noRows);
  return { types: await ask(`DESCRIBE ${file}`), rows };
}

const conditions = [
  'd > 0',
  "s LIKE 'a%'",
  'b',
  'n IS NULL',
  "has(l, 'a')",
  'n < 100',
  'notEmpty(l)',
  "j = '{}'",
  'd IN (1, 2, 3)',
  "timestamp >= toDateTime64('2026-04-24 03:06:42', 3, 'UTC')",
  'length(s) > 1',
  'v[1] < v[2]',
  'isNull(s) OR b',
];
const condition = fc
  .array(fc.constantFrom(...conditions), { minLength: 1, maxLength: 3 })
  .chain((some) =>
    fc.constantFrom(some.join(' AND '), some.map((each) => `NOT (${each})`).join(' OR '), some.join(' OR ')),
  );
const total = 'timestamp, toString(tuple(*))';
const sqlText = fc
  .tuple(condition, condition)
  .chain(([where, also]) =>
    fc.constantFrom(
      `SELECT * FROM m WHERE ${where} ORDER BY ${total}`,
      `SELECT * EXCEPT (v), length(l) AS c FROM m AS t WHERE ${where} ORDER BY timestamp, toString(tuple(t.*)) LIMIT 7`,
      `SELECT b, s, count() AS c, min(n), max(d), uniqExact(j), sum(toInt128(n)) AS x, quantileExact(0.5)(d), arraySort(groupArray(timestamp)) FROM m WHERE ${where} GROUP BY b, s ORDER BY b, s`,
      `SELECT a.timestamp AS t, a.n AS n, count() AS c, max(o.d) AS x FROM m AS a JOIN m AS o ON a.n = o.n GROUP BY t, n ORDER BY t, n`,
      `SELECT a.s AS s, count(o.timestamp) AS c FROM m AS a LEFT JOIN (SELECT * FROM m WHERE ${where}) AS o ON a.s = o.s GROUP BY s ORDER BY s`,
      `SELECT timestamp, row_number() OVER (PARTITION BY b ORDER BY ${total}) AS r, count() OVER (PARTITION BY s) AS c FROM m ORDER BY ${total}`,
      `WITH few AS (SELECT * FROM m WHERE ${where}), m2 AS (SELECT n FROM few WHERE ${also}) SELECT count() AS c, countIf(n IN m2) AS k FROM m WHERE ${also}`,
      `SELECT * FROM (SELECT s FROM m WHERE ${where} UNION ALL SELECT j FROM m WHERE ${also}) ORDER BY s`,
      `SELECT toStartOfInterval(timestamp, INTERVAL 2 SECOND) AS t, argMin(s, (timestamp, toString(tuple(*)))) AS f FROM m GROUP BY t ORDER BY t`,
      `SELECT x, count() AS c FROM m ARRAY JOIN l AS x WHERE ${where} GROUP BY x ORDER BY x`,
      `SELECT d, (SELECT count() FROM m WHERE ${also}) AS c FROM m WHERE d = (SELECT max(d) FROM m WHERE ${where}) ORDER BY d, c`,
    ),
  );

/**
 * Numbers that are sums of doubles come in the order of their adding.
 *
 * @param added what a sum may have been made of, each without its sign: where such cancel each other out, little is left of a
 *   sum, and what was rounded away on the way to it is much beside that
 */
function isNear(a: unknown, b: unknown, added: number): boolean {
  if (typeof a === 'number' && typeof b === 'number') {
    return a === b || Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b), added, Number.MIN_VALUE);
  }
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b);
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return (
    left.length === right.length &&
    left.every(([name, each]) => {
      const isSum = name === 'avg_d' || name === 'sum_d' || Array.isArray(a);
      return isNear(each, (b as Record<string, unknown>)[name], isSum ? added : 0);
    })
  );
}

test(`answers do not depend on where rows are: half of them in the tail, then all of them flushed`, async () => {
  let asked = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowText, { minLength: 4, maxLength: 40 }),
      fc.array(rawQuery, { minLength: 8, maxLength: 8 }),
      fc.array(downsampledQuery, { minLength: 8, maxLength: 8 }),
      fc.array(sqlText, { minLength: 10, maxLength: 10 }),
      async (rows, raw, downsampled, texts) => {
        const table = await newTable(ctx, 2, fields);
        const quarter = Math.ceil(rows.length / 4);
        await sendText(table, rows.slice(0, quarter));
        await sendText(table, rows.slice(quarter, 2 * quarter));
        await flush(ctx, table.dataset);
        await sendText(table, rows.slice(2 * quarter, 3 * quarter));
        await sendText(table, rows.slice(3 * quarter));
        const format = (i: number) => formatNames[i % formatNames.length] ?? 'json';
        const exact = [
          ...raw.map((body, i) => ({ ask: structured(body, format(i)), format: format(i), what: body })),
          ...texts.map((text, i) => ({ ask: inSql(text, format(i)), format: format(i), what: text })),
        ];
        const near = downsampled.map((body) => ({
          ask: structured(body, 'json'),
          format: 'json' as const,
          what: body,
        }));
        const ask = async () => {
          const answers: unknown[] = [];
          for (const each of [...exact, ...near])
            answers.push(await rowsOf(await each.ask(table.dataset), each.format));
          return answers;
        };
        const doubles = rows.map((text) => Math.abs((JSON.parse(text) as { d: number | null }).d ?? 0));
        const added = doubles.reduce((sum, each) => sum + each, 0);
        const before = await ask();
        await flush(ctx, table.dataset);
        const after = await ask();
        for (const [i, { what }] of exact.entries())
          expect({ what, rows: after[i] }).toEqual({ what, rows: before[i] });
        for (const [i, { what }] of near.entries()) {
          const [one, two] = [before[exact.length + i], after[exact.length + i]] as { text: string }[];
          if (!isNear(JSON.parse(one?.text ?? ''), JSON.parse(two?.text ?? ''), added))
            expect({ what, rows: two }).toEqual({ what, rows: one });
        }
        asked += exact.length + near.length;
      },
    ),
    { numRuns: runs, endOnFailure: true },
  );
  expect(asked).toBe(runs * 26);
});
