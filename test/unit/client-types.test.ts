import { expect, expectTypeOf, test } from 'vitest';
import type * as z from 'zod';
import type { Filter, Operator, Query, Receipt, Sql } from '../../src/client/index.ts';
import type { Receipt as ServerReceipt } from '../../src/ingest/receipt.ts';
import type { Filter as ServerFilter } from '../../src/query/request/filters.ts';
import type { Operator as ServerOperator } from '../../src/query/request/operators.ts';
import type { queryBody } from '../../src/query/request/parse.ts';
import type { sqlBody } from '../../src/query/sql/run-sql.ts';

type ServerQuery = z.input<typeof queryBody>;
type ServerSql = z.input<typeof sqlBody>;

/** As the client sends it: a `bigint` as a number or its digits, a `Date` as its time. */
type Sent<T> = T extends Date
  ? string
  : T extends bigint
    ? string
    : T extends object
      ? { [K in keyof T]: Sent<T[K]> }
      : T;

/** Held by the compiler: each is assignable to the other, but for what only one of them has. */
const ways = {
  queryToServer: (query: Sent<Query>): Omit<ServerQuery, 'tableName'> => query,
  queryFromServer: (query: Omit<Pick<ServerQuery, keyof Query & keyof ServerQuery>, 'filters'>): Query => query,
  filterToServer: (filter: Sent<Filter>): ServerFilter => filter,
  filterFromServer: (filter: ServerFilter): Filter => filter,
  receiptFromServer: (receipt: ServerReceipt): Receipt => receipt,
  receiptToServer: (receipt: Receipt): ServerReceipt => receipt,
  sqlToServer: (sql: Sql): Omit<ServerSql, 'sql'> => sql,
  sqlFromServer: (sql: Pick<ServerSql, keyof Sql & keyof ServerSql>): Sql => sql,
};

test('the client’s types of queries are what the server takes', () => {
  expect(Object.keys(ways)).toHaveLength(8);
  type Unknown = 'tableName' | 'format' | 'timestampColumn' | 'min_watermark';
  expectTypeOf<Exclude<keyof ServerQuery, keyof Query>>().toEqualTypeOf<Unknown>();
  expectTypeOf<Operator>().toEqualTypeOf<ServerOperator>();
  expectTypeOf<Exclude<keyof ServerSql, keyof Sql>>().toEqualTypeOf<'sql' | 'format' | 'min_watermark'>();
});
