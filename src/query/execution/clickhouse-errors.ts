import { ApiError, StoreError } from '../../core/errors.ts';
import { type ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { QueryDeps } from '../deps.ts';
import { abortIfCancelled } from './cancel.ts';

/**
 * What a refusal of ClickHouse means to whoever sent the query. Its own words hold the query as it was run, and values;
 * what is told is which kind of error it was, and the one name that the caller wrote.
 *
 * The codes are those of https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp.
 */
export function queryError(ctx: QueryDeps, error: ClickHouseError, isExport = false): ApiError {
  return (
    limitError(ctx, error, isExport) ?? callersError(error) ?? new StoreError('clickhouse', 'refused the query', error)
  );
}

/**
 * A server that ends while another one waits for its rows: the code is that of a value that is cut off. Of a value on
 * another server, the message says from where it was received.
 */
function isOfAnotherServer({ code, message }: ClickHouseError): boolean {
  const isCutOff = code === clickhouseCodes.readAfterEnd || code === clickhouseCodes.cannotReadAll;
  return isCutOff && /receiving packet|executing remote/i.test(message) && !/received from/i.test(message);
}

function limitError(ctx: QueryDeps, cause: ClickHouseError, isExport: boolean): ApiError | undefined {
  const time = isExport ? 'export_timeout_ms' : 'query_timeout_ms';
  const { limits } = ctx.config;
  const exceeded = (detail: string) => new ApiError('limit-exceeded', detail, { cause });
  const withoutShard = () =>
    new StoreError('clickhouse', 'has a shard that does not answer, on which rows of this query may be', cause);
  if (isOfAnotherServer(cause)) return withoutShard();
  switch (cause.code) {
    case clickhouseCodes.queryWasCancelled:
      return abortIfCancelled(cause);
    case clickhouseCodes.allConnectionTriesFailed:
    case clickhouseCodes.networkError:
    case clickhouseCodes.socketTimeout:
      return withoutShard();
    case clickhouseCodes.timeoutExceeded:
    case clickhouseCodes.tooSlow:
      return exceeded(`The query took longer than ${limits[time]} ms (limit ${time}). Ask for less at once.`);
    case clickhouseCodes.memoryLimit:
      return exceeded(
        `The query needs more than ${limits.query_memory_bytes_max} bytes of memory (limit query_memory_bytes_max). Ask for less at once.`,
      );
    case clickhouseCodes.tooManyRowsOrBytes:
      return exceeded(
        `The answer has more than ${limits.query_rows_max} rows (limit query_rows_max). Ask for fewer, or for all of them as NDJSON, CSV, Parquet or Arrow.`,
      );
    case clickhouseCodes.tooDeepAst:
    case clickhouseCodes.tooBigAst:
    case clickhouseCodes.tooDeepRecursion:
    case clickhouseCodes.tooDeepPipeline:
      return exceeded('The query is too large or nests too deep for ClickHouse. Ask for less at once.');
    case clickhouseCodes.tooManyQueries:
      return new ApiError('too-many-queries', 'ClickHouse runs as many queries as it may. Try again shortly.', {
        retryAfterMs: 1_000,
        cause,
      });
    default:
      // A query whose parts multiply has no code of its own.
      if (!cause.message.includes('Query tree is too big')) return undefined;
      return exceeded('The query is too large for ClickHouse once its parts are put in place. Ask for less at once.');
  }
}

/** Words for the errors that callers make most. A group of the pattern is the name they wrote. */
const told: Record<number, [pattern: RegExp | undefined, detail: string]> = {
  6: [undefined, 'A value cannot be read as the type that is asked for'],
  27: [undefined, 'A value cannot be read as the type that is asked for'],
  36: [undefined, 'A function has an argument that it does not take'],
  38: [undefined, 'A value cannot be read as a date'],
  41: [undefined, 'A value cannot be read as a date and time'],
  42: [/function `?([A-Za-z0-9_]+)`?/i, 'A function has too many or too few arguments'],
  43: [/function `?([A-Za-z0-9_]+)`?/i, 'A function has an argument of a type that it does not take'],
  46: [/(?:Unknown|Function with name) (?:function )?[`']?([A-Za-z0-9_]+)[`']?/, 'There is no such function'],
  47: [/identifier [`']([^`']{1,128})[`']/i, 'There is no such column or name'],
  53: [undefined, 'Two sides have types that cannot be brought together'],
  60: [undefined, 'A name is not that of a table or of a common table expression where it stands'],
  69: [undefined, 'A number is out of the range that a function takes'],
  70: [undefined, 'A value cannot be converted to the type that is asked for'],
  72: [undefined, 'A value cannot be read as a number'],
  153: [undefined, 'A division by zero'],
  179: [undefined, 'A name is given to two different things'],
  184: [undefined, 'An aggregate function stands where none can'],
  207: [/identifier [`']([^`']{1,128})[`']/i, 'A name could mean more than one thing'],
  215: [undefined, 'A column is neither aggregated nor in GROUP BY'],
  386: [undefined, 'Values have no type in common'],
  427: [undefined, 'A regular expression cannot be read'],
  456: [/Substitution [`']?([A-Za-z0-9_]+)/, 'The SQL has a parameter that was not sent in params'],
  457: [/query parameter '([A-Za-z0-9_]+)'/, 'The value of a parameter cannot be read as its type'],
};

/** What is surely wrong with a request, whenever it runs; undefined for what may pass. For whoever would try it again. */
export function lastingError(error: ClickHouseError): ApiError | undefined {
  return Object.hasOwn(told, error.code) ? callersError(error) : undefined;
}

/** Errors of the server, whatever was asked: trying again may help, asking for something else does not. */
const serversCodes = new Set([
  3, 22, 164, 452, 49, 74, 75, 76, 84, 87, 92, 95, 101, 106, 159, 198, 209, 210, 225, 228, 236, 242, 243, 254, 270, 279,
  319, 425, 439, 440, 459, 494, 516, 517, 568, 573, 594, 606, 609, 614, 636, 668, 692, 735, 999, 1000, 1001,
]);

function callersError(cause: ClickHouseError): ApiError | undefined {
  if (serversCodes.has(cause.code) || cause.code === 0) return undefined;
  const [, kind = ''] = /\(([A-Z0-9_]+)\)\s*(?:\(version|$)/.exec(cause.message) ?? [];
  const [pattern, detail] = told[cause.code] ?? [undefined, 'ClickHouse refused the query'];
  const name = pattern?.exec(cause.message)?.[1];
  const isOwn = name !== undefined && !/^_|^ts_/.test(name);
  return new ApiError('invalid-request', `${detail}${isOwn ? `: ${name}` : ''}${kind === '' ? '' : ` (${kind})`}.`, {
    extra: { clickhouseCode: cause.code },
    cause,
  });
}
