import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { ApiError } from '../../../src/core/errors.ts';
import { everyNode } from '../../../src/stores/clickhouse/servers.ts';
import { at, flush, newDataset, newInstance, query, send, sql } from '../support.ts';

// What is too much is found while it is planned, which may take longer than a query may on a machine that is shared.
const ctx = newInstance({ TIMESTORE_QUERY_TIMEOUT_MS: '200000' });
const own = newDataset();
const other = newDataset();
const secret = 424_242_424_242;

/** May read its own dataset and no other. */
const reader = { reads: (dataset: string) => dataset === own, rowFilter: null };
const ask = (text: string, body: object = {}) => sql(ctx, text, { dataset: own, ...body }, reader);

beforeAll(async () => {
  for (const [dataset, v] of [
    [own, 1],
    [other, secret],
  ] as const) {
    await send(ctx, dataset, [{ timestamp: at(1), v, s: `${v}` }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(2), v, s: `${v}` }]);
  }
});

/** What the logs of every server say. */
async function ofEach<Found>(query: string, parameters: Record<string, string>): Promise<Found[]> {
  const found: Found[] = [];
  for (const { clickhouse } of everyNode(ctx)) {
    await clickhouse.command('SYSTEM FLUSH LOGS');
    found.push(...(await clickhouse.rows<Found>(query, parameters)));
  }
  return found;
}

/** What ClickHouse ran with this text in it: not what it was asked to explain. */
async function ran(marker: string): Promise<{ query: string; tables: string[] }[]> {
  return await ofEach<{ query: string; tables: string[] }>(
    `SELECT query, tables FROM system.query_log
      WHERE user = 'timestore_reader' AND type != 'QueryStart' AND event_date >= yesterday()
        AND position(query, {marker:String}) > 0 AND NOT startsWith(query, 'EXPLAIN QUERY TREE run_passes = 0')`,
    { marker },
  );
}

async function explained(marker: string): Promise<number> {
  const found = await ofEach(
    `SELECT query FROM system.query_log
      WHERE user = 'timestore_reader' AND event_date >= yesterday()
        AND position(query, {marker:String}) > 0 AND startsWith(query, 'EXPLAIN QUERY TREE run_passes = 0')`,
    { marker },
  );
  return found.length;
}

/** Ways to name the table of another dataset, and what is nobody's. */
const tables = [
  `\`${other}\`.m`,
  `\`${other}\`.\`m\``,
  `"${other}"."m"`,
  `"${other}" . m`,
  `\`${other}\`/* x */./* y */m`,
  `\`${other}\` -- x\n . m`,
  `\`ts_${other}\`.m`,
  `"ts_${other}"."m"`,
  `\`ts_${other}.m\``,
  `\`${other}.m\``,
  `\`ts_${own}\`.m`,
  'system.tables',
  'system.one',
  'system . query_log',
  '`system`.`users`',
  'SYSTEM.TABLES',
  'information_schema.tables',
  'INFORMATION_SCHEMA.TABLES',
  'default.m',
  'timestore.ingest_watermarks',
  'timestore.skipped_rows',
  'timestore.stored_batches',
  '__ts_tail0',
  '`__ts_tail0`',
  "url('http://127.0.0.1:1/', CSV, 'a String')",
  "file('/etc/passwd', LineAsString)",
  "s3('http://127.0.0.1:1/x.csv', CSV)",
  "gcs('http://127.0.0.1:1/x.csv', CSV)",
  `remote('127.0.0.1', 'ts_${other}', 'm')`,
  `remote('127.0.0.1', \`ts_${other}\`.m)`,
  `remoteSecure('127.0.0.1', 'ts_${other}.m')`,
  `cluster('default', \`ts_${other}\`.m)`,
  `clusterAllReplicas('default', 'ts_${other}', 'm')`,
  `merge('ts_${other}', '.*')`,
  `MERGE('ts_${other}', '.*')`,
  "merge(REGEXP('.*'), '.*')",
  `view(SELECT * FROM \`ts_${other}\`.m)`,
  `viewIfPermitted(SELECT 1 ELSE null('x Int8'))`,
  `loop(\`ts_${other}\`.m)`,
  `loop('ts_${other}', 'm')`,
  `mergeTreeIndex('ts_${other}', 'm')`,
  `mergeTreeProjection('ts_${other}', 'm', 'p')`,
  "dictionary('d')",
  "input('a String')",
  "executable('x', TSV, 'a String')",
  "mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
  "postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
  "redis('127.0.0.1:1', 'k', 'k String, v String')",
  "mongodb('127.0.0.1:1', 'd', 'c', 'u', 'p', 'a String')",
  "sqlite('/tmp/x.db', 't')",
  "hdfs('hdfs://127.0.0.1:1/x', TSV)",
  "azureBlobStorage('x', 'y', 'z')",
  "deltaLake('http://127.0.0.1:1/')",
  "iceberg('http://127.0.0.1:1/')",
  "format(CSV, '1')",
  "generateRandom('a Int8')",
  'fuzzJSON(j)',
  "urlCluster('default', 'http://127.0.0.1:1/', CSV)",
  "viewExplain('EXPLAIN', '', (SELECT 1))",
  `(SELECT * FROM \`ts_${other}\`.m)`,
  `(EXPLAIN SELECT * FROM \`ts_${other}\`.m)`,
];

/** Each place where a table can stand. */
const places: ((table: string, mark: string) => string)[] = [
  (t, mark) => `SELECT ${mark} AS mark, * FROM ${t}`,
  (t, mark) => `SELECT ${mark} FROM ${t} AS x`,
  (t, mark) => `SELECT ${mark} FROM ${t} m`,
  (t, mark) => `FROM ${t} SELECT ${mark}`,
  (t, mark) => `SELECT ${mark} FROM m, ${t}`,
  (t, mark) => `SELECT ${mark} FROM m CROSS JOIN ${t}`,
  (t, mark) => `SELECT ${mark} FROM m AS a LEFT JOIN ${t} AS b ON a.v = b.v`,
  (t, mark) => `SELECT ${mark} FROM m AS a JOIN (m JOIN ${t} AS z USING v) AS b USING v`,
  (t, mark) => `SELECT ${mark} FROM m WHERE v IN ${t}`,
  (t, mark) => `SELECT ${mark} FROM m WHERE v NOT IN (${t})`,
  (t, mark) => `SELECT ${mark}, in(v, ${t}) FROM m`,
  (t, mark) => `SELECT ${mark}, m.v NOT IN ${t} FROM m`,
  (t, mark) => `SELECT ${mark}, v GLOBAL IN (SELECT v FROM ${t}) FROM m`,
  (t, mark) => `SELECT ${mark}, (SELECT max(v) FROM ${t}) FROM m`,
  (t, mark) => `SELECT ${mark} FROM m WHERE EXISTS (SELECT 1 FROM ${t})`,
  (t, mark) => `WITH c AS (SELECT * FROM ${t}) SELECT ${mark} FROM c`,
  (t, mark) => `WITH m AS (SELECT * FROM ${t}) SELECT ${mark} FROM m`,
  (t, mark) => `WITH (SELECT max(v) FROM ${t}) AS c SELECT ${mark}, c FROM m`,
  (t, mark) => `WITH c AS (SELECT 1) SELECT ${mark} FROM m WHERE 1 IN (WITH d AS (SELECT v FROM ${t}) SELECT v FROM d)`,
  (t, mark) => `SELECT ${mark} FROM m ORDER BY (SELECT max(v) FROM ${t})`,
  (t, mark) => `SELECT ${mark} FROM m GROUP BY (SELECT max(v) FROM ${t})`,
  (t, mark) => `SELECT ${mark}, count() FROM m HAVING count() > (SELECT count() FROM ${t})`,
  (t, mark) => `SELECT ${mark} FROM m LIMIT (SELECT count() FROM ${t})`,
  (t, mark) => `SELECT ${mark} FROM m LIMIT 1 OFFSET (SELECT count() FROM ${t})`,
  (t, mark) => `SELECT ${mark} FROM m ORDER BY v WITH FILL FROM (SELECT min(v) FROM ${t}) TO 3`,
  (t, mark) => `SELECT ${mark} FROM m UNION ALL SELECT s FROM ${t}`,
  (t, mark) => `(SELECT ${mark} FROM m) INTERSECT (SELECT s FROM ${t})`,
  (t, mark) => `SELECT ${mark}, sum(v) OVER (ORDER BY (SELECT max(v) FROM ${t})) FROM m`,
  (t, mark) => `SELECT ${mark}, arrayMap(x -> (SELECT max(v) FROM ${t}), [1]) FROM m`,
  (t, mark) => `SELECT ${mark} FROM m ARRAY JOIN [(SELECT max(v) FROM ${t})] AS a`,
  (t, mark) => `SELECT ${mark}, CASE WHEN 1 THEN (SELECT max(v) FROM ${t}) END FROM m`,
  (t, mark) => `SELECT ${mark} FROM numbers((SELECT toUInt64(count()) FROM ${t}))`,
  (t, mark) => `SELECT ${mark} FROM m JOIN m AS n ON m.v = n.v AND m.v IN (SELECT v FROM ${t})`,
  (t, mark) => `SELECT ${mark} FROM (SELECT * FROM (SELECT * FROM ${t}))`,
  (t, mark) => `SELECT ${mark} FROM m QUALIFY row_number() OVER () = (SELECT 1 FROM ${t})`,
];

const functions = [
  `dictGet('ts_${other}.d', 'v', 1)`,
  "DICTGET('d', 'v', 1)",
  "dictHas('d', 1)",
  "dictGetOrDefault('d', 'v', 1, 2)",
  `joinGet('ts_${other}.m', 'v', 1)`,
  `joinGet(\`ts_${other}\`.m, 'v', 1)`,
  `joinGetOrNull('ts_${other}.m', 'v', 1)`,
  `hasColumnInTable('ts_${other}', 'm', 'v')`,
  "file('/etc/passwd')",
  'currentUser()',
  'user()',
  'currentRoles()',
  "getSetting('max_threads')",
  "getMacro('x')",
  "getServerSetting('max_connections')",
  'hostName()',
  'FQDN()',
  'tcpPort()',
  "getServerPort('http_port')",
  'serverUUID()',
  'revision()',
  'uptime()',
  'buildId()',
  'connectionId()',
  "getClientHTTPHeader('X-ClickHouse-Key')",
  'showCertificate()',
  'sleep(1)',
  'sleepEachRow(1)',
  'throwIf(1)',
  'currentDatabase(1)',
  'queryID()',
  'filesystemAvailable()',
  'addressToSymbol(1)',
  "demangle('x')",
  'tid()',
  "catboostEvaluate('/x', 1)",
  "naiveBayesClassifier('d', 'x')",
  "aiGenerate('x', 'y')",
  "fuzzQuery('SELECT 1')",
  "logTrace('x')",
  "getSettingOrDefault('x', 1)",
  'currentSchemas(true)',
  'regionToName(1)',
  'zookeeperSessionUptime()',
  '`joinGet`(1, 2, 3)',
  "mergeTreePartInfo('x')",
  "getMergeTreeSetting('x')",
  'aggThrow(1)',
  'sumIfFoo(1)',
  "arrayReduce('aggThrow(0.5)', [1])",
  "ARRAYREDUCE('AggThrowIf', [1], [1])",
  "arrayReduce(concat('agg', 'Throw(0.5)'), [1])",
  "arrayReduce((SELECT 'aggThrow(0.5)'), [1])",
  "arrayReduceInRanges('aggThrow(0.5)', [(1, 1)], [1])",
  "initializeAggregation('aggThrow(0.5)State', 1)",
  "finalizeAggregation(initializeAggregation('aggThrowState(0.5)', 1))",
  "globalVariable('max_allowed_packet')",
];

const expressions: ((call: string, mark: string) => string)[] = [
  (f, mark) => `SELECT ${mark}, ${f}`,
  (f, mark) => `SELECT ${mark} FROM m WHERE ${f} = 1`,
  (f, mark) => `WITH ${f} AS x SELECT ${mark}, x FROM m`,
  (f, mark) => `WITH x AS (SELECT ${f} AS y) SELECT ${mark}, y FROM x`,
  (f, mark) => `SELECT ${mark} FROM m GROUP BY ${f}`,
  (f, mark) => `SELECT ${mark} FROM m ORDER BY ${f}`,
  (f, mark) => `SELECT ${mark} FROM m LIMIT ${f}`,
  (f, mark) => `SELECT ${mark}, arrayMap(x -> ${f}, [1]) FROM m`,
  (f, mark) => `SELECT ${mark}, * REPLACE (${f} AS v) FROM m`,
  (f, mark) => `SELECT ${mark} FROM numbers(toUInt64(${f}))`,
  (f, mark) => `SELECT ${mark}, sum(v) OVER (PARTITION BY ${f}) FROM m`,
  (f, mark) => `SELECT ${mark} FROM m JOIN m AS n ON n.v = ${f}`,
  (f, mark) => `SELECT ${mark}, (SELECT ${f}) FROM m`,
];

/** Refused in words that tell nothing of others, before anything ran. */
async function expectRefused(text: string, body: object = {}): Promise<void> {
  const outcome = await ask(text, body).then(
    (answer) => `answered ${answer.text}`,
    (error: unknown) => error,
  );
  expect(outcome, text).toBeInstanceOf(ApiError);
  const { code, message } = outcome as ApiError;
  expect(['invalid-request', 'not-found', 'limit-exceeded'], `${text}: ${message}`).toContain(code);
  const told = text.includes('_tail') ? message.replaceAll('__ts_tail0', '') : message;
  expect(told).not.toMatch(new RegExp(`${secret}|__ts_[0-9]|__ts_tail|Exception|SELECT \\S+ FROM`));
}

/** So many at a time that ClickHouse is busy, and no more. */
async function each<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

describe('[elsewhere 13] what is not the caller’s own is refused before anything runs', () => {
  test('each way to name a table, in each place where one can stand', async () => {
    const marker = `wall-a-${own}`;
    const attacks = tables
      .flatMap((table) => places.map((place) => place(table, `'${marker}'`)))
      // In an expression, this is the function that makes text of text.
      .filter((text) => !/(?:IN|IN \(|in\(v,) ?format\(/.test(text));
    await each(attacks, (text) => expectRefused(text));
    expect(attacks.length).toBeGreaterThan(1_900);
    expect(await ran(marker)).toEqual([]);
    expect(await explained(marker)).toBeGreaterThan(500);
  });

  test('each function that reads data outside the tables, in every position', async () => {
    const marker = `wall-b-${own}`;
    const attacks = functions.flatMap((call) => expressions.map((place) => place(call, `'${marker}'`)));
    await each(attacks, (text) => expectRefused(text));
    expect(await ran(marker)).toEqual([]);
    expect(await explained(marker)).toBeGreaterThan(attacks.length / 2);
  });

  test('an aggregate function that is named by a text is one that may be called', async () => {
    for (const called of [
      "arrayReduce('sum', [1, 2])",
      "arrayReduce('quantileExact(0.5)', [3])",
      "finalizeAggregation(initializeAggregation('sumState', 3))",
      "arrayReduceInRanges('max', [(1, 2)], [1, 3])[1]",
    ]) {
      expect((await ask(`SELECT ${called} AS x`)).rows).toEqual([{ x: 3 }]);
    }
    await expectRefused('SELECT arrayReduce({p:String}, [1, 2]) AS x', { params: { p: 'sum' } });
    await expectRefused('SELECT `arrayReduce` ( /* x */ (({p:String})), [1, 2]) AS x', { params: { p: 'sum' } });
    await expectRefused("WITH 'aggThrow(0.5)' AS p SELECT arrayReduce(p, [1, 2]) AS x");
  });

  test('a name after IN that begins with an alias is a column of it and no table, whatever the alias is called', async () => {
    const marker = `wall-e-${own}`;
    const aliases = [`ts_${other}`, `TS_${other}`, 'system', 'SYSTEM', 'information_schema', 'INFORMATION_SCHEMA'];
    const attacks = [...aliases, 'timestore', 'default', '_temporary_and_external_tables', `ts_${other}.m`].flatMap(
      (alias) => {
        return ['m', 'one', 'tables', 'users', 'ingest_watermarks', 'v'].flatMap((name) => [
          `SELECT '${marker}' FROM m AS "${alias}" WHERE v IN ("${alias}"."${name}")`,
          `SELECT '${marker}' FROM m AS "${alias}" WHERE "${alias}".v NOT IN "${alias}".${name}`,
          `SELECT '${marker}', v IN (("${alias}".${name})) FROM (SELECT 1 AS v) AS "${alias}"`,
          `WITH "${alias}" AS (SELECT v FROM m) SELECT '${marker}' FROM m, "${alias}" WHERE m.v IN ("${alias}".${name})`,
          `SELECT '${marker}' FROM m AS "${alias}" WHERE EXISTS (SELECT 1 FROM m AS i WHERE i.v GLOBAL IN ("${alias}".${name}))`,
        ]);
      },
    );
    await each(attacks, (text) => expectRefused(text));
    expect(await ran(marker)).toEqual([]);
    // Outside of the SELECT that has the alias, it is none.
    await expectRefused(`SELECT v IN (x.m) FROM m WHERE v IN (SELECT v FROM m AS x)`);
  });

  test.each([
    'INSERT INTO m SELECT * FROM m',
    'DROP TABLE m',
    'ALTER TABLE m DELETE WHERE 1',
    'CREATE TABLE x (a Int8) ENGINE = Memory',
    'SYSTEM SHUTDOWN',
    'KILL QUERY WHERE 1',
    'SHOW TABLES',
    'DESCRIBE m',
    'EXPLAIN SELECT 1',
    'EXISTS TABLE m',
    'USE system',
    'SET max_memory_usage = 0',
    'GRANT ALL ON *.* TO x',
    'WATCH m',
    'TABLE m',
    'SELECT 1; DROP TABLE m',
    'SELECT 1; SELECT 2',
    ';SELECT 1',
    'SELECT 1 FORMAT JSON',
    'SELECT 1 FORMAT Null',
    'SELECT 1 UNION ALL SELECT 2 FORMAT TSV',
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT 1 INTO OUTFILE '/tmp/x' FORMAT CSV",
    'SELECT 1 SETTINGS max_execution_time = 0',
    'SELECT 1 SETTINGS readonly = 0, max_memory_usage = 0',
    'SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)',
    'SELECT * FROM m SETTINGS additional_table_filters = {}',
    'SELECT * FROM m FINAL',
    'SELECT * FROM m AS x FINAL',
    'SELECT * FROM m SAMPLE 1/2',
    'SELECT * FROM m SAMPLE 1/2 OFFSET 1/2',
    'SELECT * FROM m PREWHERE v = 1',
    'SELECT * FROM m PREWHERE v = 1 WHERE v = 1',
    'SELECT _part FROM m',
    'SELECT _partition_id, * FROM m',
    'SELECT _seq FROM m',
    'SELECT _lane, _row FROM m',
    'SELECT m._partition FROM m',
    'SELECT _table FROM m',
    'SELECT 1 PARALLEL WITH SELECT 2',
    'SELECT {x:Identifier} FROM m',
    'SELECT * FROM {t:Identifier}',
    'SELECT * FROM {t:identifier}',
    'SELECT * FROM {t/**/:/**/Identifier}',
    'SELECT $$a$$',
    'SELECT $tag$ FROM m $tag$',
    'SELECT ‘a’',
    'SELECT “v” FROM m',
    'SELECT 1 −1',
    "SELECT x'41'",
    "SELECT b'01'",
    'SELECT @@version',
    'SELECT 1 \\G',
    'SELECT 1 # comment',
    "SELECT 'a",
    'SELECT `a FROM m',
    'SELECT "a FROM m',
    'SELECT (1',
    'SELECT 1)',
    'SELECT [1)',
    'SELECT 1 /* no end',
    'SELECT 1 -- only',
    '',
    '   ',
    '-- nothing',
    'SELECT `a\nb` FROM m',
    'SELECT 1 AS `x, identifier: __ts_0`',
    'SELECT * FROM __ts_0',
    'SELECT 1 AS __ts_0',
    'SELECT * FROM m AS `a: b`',
    'SELECT x -> x FROM m',
    'WITH x -> x AS joinGet SELECT joinGet(1)',
    'SELECT * FROM m.v.w',
    'SELECT * FROM m; -- x\n; SELECT 1',
  ])('%s', async (text) => {
    if (text === 'SELECT 1 -- only') return expect((await ask(text)).rows).toEqual([{ 1: 1 }]);
    if (text.trim() === '') return await expect(ask(text)).rejects.toThrow();
    const marker = `wall-c-${own}`;
    await expectRefused(`${text}\n-- ${marker}`, text.includes('{') ? { params: { t: `ts_${other}.m`, x: 'v' } } : {});
  });

  test('SQL that is too long, too deep or too much is refused by its limit', async () => {
    await expect(ask(`SELECT ${'1,'.repeat(50_000)}1`)).rejects.toMatchObject({ code: 'limit-exceeded' });
    await expect(ask(`SELECT ${'('.repeat(300)}1${')'.repeat(300)}`)).rejects.toMatchObject({ code: 'limit-exceeded' });
    await expect(ask(`SELECT ${'-'.repeat(90_000)}1`)).rejects.toMatchObject({ code: 'invalid-request' });
    await expect(
      ask(`SELECT ${Array.from({ length: 15_000 }, (_, i) => `${i}+v`).join()} FROM m`),
    ).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
    await expect(ask(`SELECT ${'NOT '.repeat(20_000)}1`)).rejects.toMatchObject({ code: 'limit-exceeded' });
    await expect(ask(`SELECT 1 FROM ${Array.from({ length: 21 }, (_, i) => `m${i}`).join()}`)).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
    const doubled = Array.from({ length: 20 }, (_, i) => `a${i + 1} AS (SELECT l.x FROM a${i} AS l, a${i} AS r)`);
    await expect(ask(`WITH a0 AS (SELECT 1 AS x), ${doubled.join()} SELECT count() FROM a20`)).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
    const params = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`p${i}`, i]));
    await expect(ask('SELECT 1', { params })).rejects.toMatchObject({ code: 'limit-exceeded' });
    await expect(ask('SELECT {p:String}', { params: { p: 'x'.repeat(200_000) } })).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
  });
});

const name = fc.constantFrom('m', 'm', 'x', '"m"', '`x`', 'one', `\`ts_${other}.m\``);
const path = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('m', '`m`', `\`${own}\`.m`, `"${own}" . "m"`) },
  { weight: 3, arbitrary: name },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      `\`${other}\`.m`,
      `\`ts_${other}\`.m`,
      `\`ts_${own}\`.m`,
      'system.one',
      'system.tables',
      'x.m',
      'm.v',
      'secret',
      `\`${other}.m\``,
      '`system.one`',
      `merge('ts_${other}', 'm')`,
    ),
  },
);

/** Queries in queries, so many levels deep. */
function queryOf(depth: number): fc.Arbitrary<string> {
  const inner = depth === 0 ? fc.constantFrom('SELECT v FROM m', 'SELECT 1 AS v') : queryOf(depth - 1);
  const from = fc.oneof(
    { weight: 4, arbitrary: path },
    { weight: 2, arbitrary: fc.tuple(path, name).map(([table, as]) => `${table} AS ${as}`) },
    { weight: 1, arbitrary: fc.tuple(path, name).map(([table, as]) => `${table} ${as}`) },
    { weight: 2, arbitrary: fc.tuple(inner, name).map(([text, as]) => `(${text}) AS ${as}`) },
    { weight: 1, arbitrary: fc.tuple(path, path).map(([a, b]) => `${a}, ${b}`) },
    { weight: 1, arbitrary: fc.tuple(path, path).map(([a, b]) => `${a} AS a CROSS JOIN ${b} AS b`) },
    { weight: 1, arbitrary: fc.tuple(path, name).map(([a, as]) => `${a} ARRAY JOIN [1, 2] AS ${as}`) },
  );
  const value = fc.oneof(
    { weight: 16, arbitrary: fc.constantFrom('v', '1', 'any(v)', 'toFloat64(v) + 1') },
    { weight: 1, arbitrary: fc.constantFrom('m.v', 'x.v') },
    { weight: 2, arbitrary: inner.map((text) => `(SELECT max(v) FROM (${text}))`) },
    { weight: 1, arbitrary: path.map((target) => `(1 IN ${target})`) },
    { weight: 1, arbitrary: path.map((target) => `(v IN (${target}))`) },
    { weight: 2, arbitrary: inner.map((text) => `(v IN (${text}))`) },
    { weight: 2, arbitrary: inner.map((text) => `exists(${text})`) },
  );
  const condition = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('v > 0', '1 = 1') },
    { weight: 2, arbitrary: inner.map((text) => `(v IN (${text}))`) },
    { weight: 1, arbitrary: path.map((target) => `(v IN (SELECT v FROM ${target}))`) },
  );
  return fc
    .record({
      ctes: fc.array(fc.tuple(name, inner), { maxLength: 2 }),
      value,
      from,
      where: fc.option(condition),
      union: fc.option(inner, { freq: 4 }),
    })
    .map(({ ctes, value: selected, from: source, where, union }) => {
      const named = ctes.length === 0 ? '' : `WITH ${ctes.map(([as, text]) => `${as} AS (${text})`).join(', ')} `;
      const filter = where === null ? '' : ` WHERE ${where}`;
      // Named anew outside: a name must not be of two things.
      const one = `SELECT w AS v FROM (${named}SELECT ${selected} AS w FROM ${source}${filter}) AS renamed`;
      return union === null ? one : `${one} UNION ALL ${union}`;
    });
}

test('[elsewhere 12] generated SQL reads tables of the caller’s own dataset, or nothing', async () => {
  const marker = `wall-d-${own}`;
  const outcomes = { answered: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(queryOf(2), async (text) => {
      const marked = `SELECT '${marker}', toString(v) AS v FROM (${text}) AS all_of_it`;
      const answer = await ask(marked).catch((error: unknown) => error);
      if (answer instanceof Error) {
        outcomes.refused += 1;
        expect(answer, text).toBeInstanceOf(ApiError);
        expect(answer.message).not.toContain(String(secret));
      } else {
        outcomes.answered += 1;
        expect((answer as { text: string }).text, text).not.toContain(String(secret));
      }
    }),
    { numRuns: Number(process.env.WALL_RUNS ?? 300), endOnFailure: true },
  );
  // Both happen often, or it says nothing.
  expect(outcomes.answered).toBeGreaterThan(20);
  expect(outcomes.refused).toBeGreaterThan(50);
  const read = new Set((await ran(marker)).flatMap((each) => each.tables));
  const allowed = new Set([`ts_${own}.m`, `\`ts_${own}\`.m`, 'system.one']);
  expect([...read].filter((table) => !allowed.has(table) && !/_tmp_/.test(table))).toEqual([]);
  expect(read.has(`\`ts_${own}\`.m`) || read.has(`ts_${own}.m`)).toBe(true);
});

test('[elsewhere 18] names and values of a structured query are names and values', async () => {
  const evil = [
    "v' OR 1=1 --",
    'v`) UNION ALL SELECT 1 --',
    '\\',
    "\\'",
    '{x:Int8}',
    `\`ts_${other}\`.m`,
    '_seq',
    '_part',
  ];
  for (const text of evil) {
    for (const body of [
      { columns: [text] },
      { orderBy: [{ column: text }] },
      { filters: { columns: [{ column: text, op: 'eq', value: 1 }] } },
      { timestampColumn: text },
      { downsample: { intervalUnit: 'day', aggregations: [{ function: 'max', column: text }] } },
      { downsample: { intervalUnit: 'day', aggregations: [{ function: 'count' }], groupBy: [text] } },
    ]) {
      await expect(query(ctx, own, body)).rejects.toMatchObject({ code: 'invalid-request' });
    }
    expect((await query(ctx, own, { filters: { columns: [{ column: 's', op: 'eq', value: text }] } })).rows).toEqual(
      [],
    );
    expect((await query(ctx, own, { filters: { partitionKey: { [text]: text } } })).rows).toEqual([]);
    const named = { intervalUnit: 'day', aggregations: [{ function: 'max', column: 'v', as: text }] };
    if (!text.startsWith('_'))
      expect((await query(ctx, own, { downsample: named })).columns).toEqual(['timestamp', text]);
  }
});
