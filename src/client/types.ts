/** RFC 3339, `YYYY-MM-DD hh:mm:ss[.fff]` in UTC, milliseconds since 1970, or a `Date`. */
export type Time = string | number | Date;

export type Operator =
  | ('eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte' | 'in' | 'notIn' | 'between' | 'isNull' | 'isNotNull')
  | ('contains' | 'notContains' | 'startsWith' | 'endsWith' | 'like' | 'notLike' | 'ilike' | 'matches')
  | ('has' | 'hasAny' | 'hasAll' | 'isEmpty' | 'isNotEmpty');

type Scalar = string | number | bigint | boolean | Date | null;

/** A condition on a column, or a group of them. An integer beyond 2^53 is a `bigint`, or a string of its digits. */
export type Filter =
  | { column: string; op: Operator; value?: Scalar | Scalar[] | undefined }
  | { and: Filter[] }
  | { or: Filter[] };

/** How fresh an answer must be. */
export type Freshness = {
  /** `strict`: every acknowledged row, or `stale-read`; by default every one, or a warning. */
  consistency?: 'strict' | 'bounded' | 'eventual' | undefined;
  requireFresh?: boolean | undefined;
  /** Of `bounded`: how old what ClickHouse lacks may be. */
  maxStalenessMs?: number | undefined;
  /** Tokens of earlier answers, beside those of this client's own writes. */
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
  /** Of the page before, with the same query. */
  cursor?: string | undefined;
};

/** What goes along with SQL. */
export type Sql = Freshness & {
  /** Where tables are that the SQL names without a dataset. */
  dataset?: string | undefined;
  /** Values of its parameters, `{name:Type}`. */
  params?: Record<string, unknown> | undefined;
};
