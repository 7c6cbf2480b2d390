/** RFC 3339, `YYYY-MM-DD hh:mm:ss[.fff]` in UTC, milliseconds since 1970, or a `Date`. */
export type Time = string | number | Date;

export type Operator =
  | ('eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte' | 'in' | 'notIn' | 'between' | 'isNull' | 'isNotNull')
  | ('contains' | 'notContains' | 'startsWith' | 'endsWith' | 'like' | 'notLike' | 'ilike' | 'matches')
  | ('has' | 'hasAny' | 'hasAll' | 'isEmpty' | 'isNotEmpty');

type Scalar = string | number | bigint | boolean | Date | null;

/** A condition on a column, or a group of conditions. Integers beyond 2^53 are a `bigint` or a string of digits. */
export type Filter =
  | { column: string; op: Operator; value?: Scalar | Scalar[] | undefined }
  | { and: Filter[] }
  | { or: Filter[] };

/** The required freshness of an answer. */
export type Freshness = {
  /** `strict`: every acknowledged row, or the error `stale-read`. Default: every acknowledged row, or a warning. */
  consistency?: 'strict' | 'bounded' | 'eventual' | undefined;
  requireFresh?: boolean | undefined;
  /** With `bounded`: maximum age of rows that are missing in ClickHouse. */
  maxStalenessMs?: number | undefined;
  /** Tokens of earlier answers, in addition to those of this client. */
  minWatermark?: string | string[] | undefined;
  maxWaitMs?: number | undefined;
};

export type Aggregation = {
  function: 'avg' | 'min' | 'max' | 'sum' | 'median' | 'count' | 'count_distinct' | 'percentile' | 'first' | 'last';
  column?: string | undefined;
  percentile?: number | undefined;
  as?: string | undefined;
};

export type Downsample = {
  intervalUnit: 'second' | 'minute' | 'hour' | 'day' | 'week' | 'month';
  intervalSize?: number | undefined;
  timeZone?: string | undefined;
  aggregations: Aggregation[];
  groupBy?: string[] | undefined;
  fill?: 'none' | 'null' | 'zero' | 'previous' | undefined;
};

/** A structured query of a table. */
export type Query = Freshness & {
  /** Rows with start ≤ timestamp < end. */
  timeRange?: { start?: Time | undefined; end?: Time | undefined } | undefined;
  columns?: string[] | undefined;
  filters?:
    | { partitionKey?: Record<string, string | string[]> | undefined; columns?: Filter[] | undefined }
    | undefined;
  downsample?: Downsample | undefined;
  orderBy?: { column: string; direction?: 'asc' | 'desc' | undefined }[] | undefined;
  limit?: number | null | undefined;
  /** The token of an earlier answer: only rows that were not in it. */
  afterWatermark?: string | undefined;
  /** The cursor of the previous page of the same query. */
  cursor?: string | undefined;
};

/** Options of SQL. */
export type Sql = Freshness & {
  /** The dataset of unqualified table names. */
  dataset?: string | undefined;
  /** Values of the parameters `{name:Type}`. */
  params?: Record<string, unknown> | undefined;
};
