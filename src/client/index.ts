/**
 * The typed client. It has no dependencies and runs wherever `fetch` exists: in Node.js, Workers and browsers.
 *
 * @module
 */
export type { Accepted, QueryAnswer, Receipt, Row, SqlAnswer, WriteOptions } from './client.ts';
export { Table, Timestore } from './client.ts';
export { TimestoreError } from './errors.ts';
export type { ClientOptions } from './transport.ts';
export type { Aggregation, Downsample, Filter, Freshness, Operator, Query, Sql, Time } from './types.ts';
export { type Refused, WriteError, Writer, type WriterOptions } from './writer.ts';
