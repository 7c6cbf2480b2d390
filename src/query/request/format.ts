/** The formats of answers. */
export const formats = {
  json: { type: 'application/json', clickhouse: 'JSON' },
  ndjson: { type: 'application/x-ndjson', clickhouse: 'JSONEachRow' },
  /** Lists of values, after a list of the column names and a list of their types. */
  compact: { type: 'application/vnd.timestore.rows', clickhouse: 'JSONCompactEachRowWithNamesAndTypes' },
  csv: { type: 'text/csv', clickhouse: 'CSVWithNames' },
  parquet: { type: 'application/vnd.apache.parquet', clickhouse: 'Parquet' },
  arrow: { type: 'application/vnd.apache.arrow.stream', clickhouse: 'ArrowStream' },
} as const;

export type Format = keyof typeof formats;

export const formatNames = Object.keys(formats) as [Format, ...Format[]];
