import { ApiError, StoreError } from '../../core/errors.ts';
import { type ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { QueryDeps } from '../deps.ts';
import { queryCancelled } from './cancel.ts';

/**
 * Translates an error of ClickHouse into an error for the caller. The message of ClickHouse contains the executed SQL and
 * values of rows: the caller gets the kind of the error, and the one name that the caller wrote.
 *
 * The codes are those of https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp.
 */
export function queryError(ctx: QueryDeps, error: ClickHouseError, isExport = false): ApiError {
  return (
    limitError(ctx, error, isExport) ?? callerError(error) ?? new StoreError('clickhouse', 'rejected the query', error)
  );
}

/**
 * A node that ends while another node waits for its rows gives the error code of a truncated value. An actual truncated
 * value on another node has the text "received from".
 */
function isLostNode({ code, message }: ClickHouseError): boolean {
  const isTruncated = code === clickhouseCodes.readAfterEnd || code === clickhouseCodes.cannotReadAll;
  return isTruncated && /receiving packet|executing remote/i.test(message) && !/received from/i.test(message);
}

function limitError(ctx: QueryDeps, cause: ClickHouseError, isExport: boolean): ApiError | undefined {
  const time = isExport ? 'export_timeout_ms' : 'query_timeout_ms';
  const { limits } = ctx.config;
  const exceeded = (detail: string) => new ApiError('limit-exceeded', detail, { cause });
  const shardUnavailable = () =>
    new StoreError('clickhouse', 'has a shard that does not answer and may have rows of this query', cause);
  if (isLostNode(cause)) return shardUnavailable();
  switch (cause.code) {
    case clickhouseCodes.queryWasCancelled:
      return queryCancelled(cause);
    case clickhouseCodes.allConnectionTriesFailed:
    case clickhouseCodes.networkError:
    case clickhouseCodes.socketTimeout:
      return shardUnavailable();
    case clickhouseCodes.timeoutExceeded:
    case clickhouseCodes.tooSlow:
      return exceeded(`The query took longer than ${limits[time]} ms (limit ${time}). Reduce the query.`);
    case clickhouseCodes.memoryLimit:
      return exceeded(
        `The query needs more than ${limits.query_memory_bytes_max} bytes of memory (limit query_memory_bytes_max). Reduce the query.`,
      );
    case clickhouseCodes.tooManyRowsOrBytes:
      return exceeded(
        `The answer has more than ${limits.query_rows_max} rows (limit query_rows_max). Request fewer rows, or all rows as NDJSON, CSV, Parquet or Arrow.`,
      );
    case clickhouseCodes.tooDeepAst:
    case clickhouseCodes.tooBigAst:
    case clickhouseCodes.tooDeepRecursion:
    case clickhouseCodes.tooDeepPipeline:
      return exceeded('The query is too large or too deeply nested for ClickHouse. Reduce the query.');
    case clickhouseCodes.tooManyQueries:
      return new ApiError('too-many-queries', 'ClickHouse runs its maximum number of queries. Try again shortly.', {
        retryAfterMs: 1_000,
        cause,
      });
    default:
      // A query that grows too large by the expansion of its parts has no error code of its own.
      if (!cause.message.includes('Query tree is too big')) return undefined;
      return exceeded('The query is too large for ClickHouse after the expansion of its parts. Reduce the query.');
  }
}

/** Details of the most common errors of callers. The group of the pattern is the name that the caller wrote. */
const details: Record<number, [pattern: RegExp | undefined, detail: string]> = {
  6: [undefined, 'A value cannot be read as the requested type'],
  27: [undefined, 'A value cannot be read as the requested type'],
  36: [undefined, 'A function has an invalid argument'],
  38: [undefined, 'A value cannot be read as a date'],
  41: [undefined, 'A value cannot be read as a date and time'],
  42: [/function `?([A-Za-z0-9_]+)`?/i, 'A function has the wrong number of arguments'],
  43: [/function `?([A-Za-z0-9_]+)`?/i, 'A function has an argument of an invalid type'],
  46: [/(?:Unknown|Function with name) (?:function )?[`']?([A-Za-z0-9_]+)[`']?/, 'Unknown function'],
  47: [/identifier [`']([^`']{1,128})[`']/i, 'Unknown column or name'],
  53: [undefined, 'Two types cannot be converted into each other'],
  60: [undefined, 'A name is neither a table nor a common table expression'],
  69: [undefined, 'A number is out of the range of a function'],
  70: [undefined, 'A value cannot be converted to the requested type'],
  72: [undefined, 'A value cannot be read as a number'],
  153: [undefined, 'Division by zero'],
  179: [undefined, 'A name has two definitions'],
  184: [undefined, 'An aggregate function is not allowed here'],
  207: [/identifier [`']([^`']{1,128})[`']/i, 'Ambiguous name'],
  215: [undefined, 'A column is neither aggregated nor in GROUP BY'],
  386: [undefined, 'Values have no common type'],
  427: [undefined, 'A regular expression cannot be read'],
  456: [/Substitution [`']?([A-Za-z0-9_]+)/, 'A parameter of the SQL is missing in params'],
  457: [/query parameter '([A-Za-z0-9_]+)'/, 'The value of a parameter cannot be read as its type'],
};

/** The error of a request that fails whenever it runs; undefined where a retry may succeed. */
export function lastingError(error: ClickHouseError): ApiError | undefined {
  return Object.hasOwn(details, error.code) ? callerError(error) : undefined;
}

/** Error codes that do not depend on the query: a retry may help, another query does not. */
const serverCodes = new Set([
  3, 22, 164, 452, 49, 74, 75, 76, 84, 87, 92, 95, 101, 106, 159, 198, 209, 210, 225, 228, 236, 242, 243, 254, 270, 279,
  319, 425, 439, 440, 459, 494, 516, 517, 568, 573, 594, 606, 609, 614, 636, 668, 692, 735, 999, 1000, 1001,
]);

function callerError(cause: ClickHouseError): ApiError | undefined {
  if (serverCodes.has(cause.code) || cause.code === 0) return undefined;
  const [, kind = ''] = /\(([A-Z0-9_]+)\)\s*(?:\(version|$)/.exec(cause.message) ?? [];
  const [pattern, detail] = details[cause.code] ?? [undefined, 'ClickHouse rejected the query'];
  const name = pattern?.exec(cause.message)?.[1];
  const isCallersName = name !== undefined && !/^_|^ts_/.test(name);
  return new ApiError(
    'invalid-request',
    `${detail}${isCallersName ? `: ${name}` : ''}${kind === '' ? '' : ` (${kind})`}.`,
    {
      extra: { clickhouseCode: cause.code },
      cause,
    },
  );
}
