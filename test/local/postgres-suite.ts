import { type FullQueryResults, type NeonDbError, neon, neonConfig } from '@neondatabase/serverless';
import { describe, expect, test } from 'vitest';

/** What the Neon front promises, whichever Postgres is behind it. */
export function describeNeonFront(name: string, address: () => { databaseUrl: string; endpoint: string }): void {
  function connect(url = address().databaseUrl) {
    neonConfig.fetchEndpoint = address().endpoint;
    neonConfig.disableWarningInBrowsers = true;
    return neon(url);
  }
  const errorOf = (query: Promise<unknown>): Promise<NeonDbError> =>
    query.then(
      () => Promise.reject(new Error('the query succeeded')),
      (error: NeonDbError) => error,
    );

  describe(name, () => {
    test('each type comes back as the value that was sent', async () => {
      const sql = connect();
      const at = new Date('2026-05-01T10:00:00.123Z');
      const bytes = Buffer.from([0, 1, 254, 255]);
      const json = { text: 'grüße 🚀 "x" \\', list: [1, null, { deep: true }] };
      const [row] = await sql`SELECT
        ${42}::int AS int, ${'9007199254740993'}::bigint AS big, ${0.1}::float8 AS float, ${'1.10'}::numeric AS numeric,
        ${true}::boolean AS yes, ${'o\'clock "q" \\ 🚀'}::text AS text, ${null}::text AS nothing,
        ${at}::timestamptz AS at, ${bytes}::bytea AS bytes, ${JSON.stringify(json)}::jsonb AS json,
        ${[1, 2, 3]}::int[] AS ints, ${['a', 'b,c', '"d"', null]}::text[] AS texts`;
      expect(row).toEqual({
        int: 42,
        big: '9007199254740993',
        float: 0.1,
        numeric: '1.10',
        yes: true,
        text: 'o\'clock "q" \\ 🚀',
        nothing: null,
        at,
        json,
        bytes,
        ints: [1, 2, 3],
        texts: ['a', 'b,c', '"d"', null],
      });
    });

    test('objects are sent as jsonb, and dates and nulls inside arrays keep their meaning', async () => {
      const sql = connect();
      const [row] = await sql.query('SELECT $1::jsonb AS object, $2::date AS day, $3::int[] AS ints', [
        { a: [1, 2] },
        '2026-05-01',
        [1, null],
      ]);
      expect(row).toMatchObject({ object: { a: [1, 2] }, ints: [1, null] });
    });

    test('array mode and full results have the shape of the driver', async () => {
      const sql = connect();
      expect(await sql.query('SELECT 1 AS a, 2 AS a', [], { arrayMode: true })).toEqual([[1, 2]]);
      await sql`CREATE TABLE IF NOT EXISTS shapes (id int PRIMARY KEY, name text NOT NULL)`;
      const full = (await sql.query("INSERT INTO shapes VALUES (1, 'x'), (2, 'y') RETURNING id", [], {
        fullResults: true,
      })) as FullQueryResults<false>;
      expect(full).toMatchObject({ command: 'INSERT', rowCount: 2, rows: [{ id: 1 }, { id: 2 }], rowAsArray: false });
      expect(full.fields).toMatchObject([{ name: 'id', dataTypeID: 23 }]);
      expect(await sql`SELECT 1 AS one WHERE false`).toEqual([]);
      await sql`DROP TABLE shapes`;
    });

    test('a batch is one transaction: an error in it leaves nothing behind', async () => {
      const sql = connect();
      await sql`CREATE TABLE IF NOT EXISTS batches (id int PRIMARY KEY)`;
      await sql`TRUNCATE batches`;
      expect(
        await sql.transaction([sql`INSERT INTO batches VALUES (1)`, sql`SELECT count(*)::int AS n FROM batches`]),
      ).toEqual([[], [{ n: 1 }]]);
      const error = await errorOf(
        sql.transaction([sql`INSERT INTO batches VALUES (2)`, sql`INSERT INTO batches VALUES (1)`]),
      );
      expect(error).toMatchObject({ code: '23505', constraint: 'batches_pkey', table: 'batches', severity: 'ERROR' });
      expect(await sql`SELECT id FROM batches`).toEqual([{ id: 1 }]);
    });

    test('isolation level, read only and deferrable reach Postgres', async () => {
      const sql = connect();
      const [[row]] = (await sql.transaction(
        [
          sql`SELECT current_setting('transaction_isolation') AS level, current_setting('transaction_read_only') AS only,
             current_setting('transaction_deferrable') AS deferrable`,
        ],
        { isolationLevel: 'Serializable', readOnly: true, deferrable: true },
      )) as [[Record<string, string>]];
      expect(row).toEqual({ level: 'serializable', only: 'on', deferrable: 'on' });
      const write = sql.transaction([sql`CREATE TABLE not_here (a int)`], { readOnly: true });
      expect(await errorOf(write)).toMatchObject({ code: '25006' });
    });

    test('errors carry SQLSTATE, position, hint and what they are about', async () => {
      const sql = connect();
      expect(await errorOf(sql`SELEC 1`)).toMatchObject({ name: 'NeonDbError', code: '42601', position: '1' });
      expect(await errorOf(sql`SELECT * FROM no_such_table`)).toMatchObject({ code: '42P01' });
      expect(await errorOf(sql`SELECT lenght('x')`)).toMatchObject({ code: '42883', hint: expect.any(String) });
      expect(await errorOf(sql`SELECT 1/0`)).toMatchObject({ code: '22012', message: 'division by zero' });
      expect(await errorOf(sql`SELECT ${'x'}::int`)).toMatchObject({ code: '22P02' });
      expect(await errorOf(sql`SELECT 1; SELECT 2`)).toMatchObject({ code: '42601' });
    });

    test('another password, user or database is refused', async () => {
      for (const [part, value] of [
        ['password', 'wrong'],
        ['username', 'nobody'],
        ['pathname', '/elsewhere'],
      ] as const) {
        const url = new URL(address().databaseUrl);
        url[part] = value;
        const error = await errorOf(connect(url.href)`SELECT 1`);
        expect(error.code).toBe(part === 'pathname' ? '3D000' : '28P01');
      }
    });

    test('what one request sets in its session, the next does not see', async () => {
      const sql = connect();
      const [before] = await sql`SELECT current_setting('search_path') AS path`;
      await sql`SET search_path TO nowhere`;
      for (let n = 0; n < 12; n += 1)
        expect(await sql`SELECT current_setting('search_path') AS path`).toEqual([before]);
    });

    test('transactions at once do not mix, and lose no update', async () => {
      const sql = connect();
      await sql`CREATE TABLE IF NOT EXISTS counters (id int PRIMARY KEY, n int)`;
      await sql`INSERT INTO counters VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET n = 0`;
      const increment = (fails: boolean) =>
        sql.transaction([
          sql`SELECT pg_advisory_xact_lock(1)`,
          sql`UPDATE counters SET n = n + 1 WHERE id = 1`,
          fails ? sql`SELECT 1/0` : sql`SELECT 1`,
        ]);
      const outcomes = await Promise.allSettled(Array.from({ length: 60 }, (_, at) => increment(at % 3 === 0)));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(40);
      expect(await sql`SELECT n FROM counters`).toEqual([{ n: 40 }]);
    });
  });
}
