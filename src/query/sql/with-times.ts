import { invalidRequest } from '../../core/invalid-request.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { CompiledSql } from './compile.ts';
import { hasText, type TimeTexts } from './iso-times.ts';

/**
 * Runs SQL, and repeats it where ClickHouse rejects a text that is compared with a time. First all compared texts are sent as
 * times; where one of them is compared with text, only the texts that ClickHouse names. The result is kept in the compiled
 * SQL. ClickHouse reports these errors before it reads rows.
 *
 * @throws ApiError of the last run where no repetition helps
 */
export async function withTimes<T>(
  compiled: CompiledSql,
  params: Record<string, unknown>,
  run: () => Promise<T>,
): Promise<T> {
  const named = new Set<TimeTexts>();
  let isNarrow = false;
  for (let round = 1; ; round += 1) {
    const before = compiled.asTimes;
    try {
      return await run();
    } catch (error) {
      const { cause } = error as Error;
      if (!(cause instanceof ClickHouseError) || compiled.times.length === 0 || round > rounds_max) throw error;
      // A concurrent run of the same SQL has changed the set.
      if (compiled.asTimes !== before) continue;
      if (isMismatch(cause) && before.size > 0) {
        if (isNarrow) throw ambiguousText();
        isNarrow = true;
        compiled.asTimes = new Set(named);
        continue;
      }
      const text = readMismatchedText(cause);
      if (text === undefined) throw error;
      for (const at of findTextPlaces(compiled, params, text)) named.add(at);
      const others = isNarrow ? [] : compiled.times.filter(({ list }) => list === undefined);
      compiled.asTimes = new Set([...before, ...named, ...others]);
      if (compiled.asTimes.size === before.size) throw error;
    }
  }
}

/** More rounds than texts in realistic SQL. */
const rounds_max = 50;

function ambiguousText() {
  return invalidRequest(
    `sql: a text is compared with a time and with text; write toDateTime64('…', 3, 'UTC') where it is a time`,
  );
}

/** A text is compared with a value that was sent as a time. */
function isMismatch({ code }: ClickHouseError): boolean {
  return code === clickhouseCodes.illegalTypeOfArgument || code === clickhouseCodes.noCommonType;
}

/** The text that ClickHouse could not convert to a time, or that the type of the column cannot hold. */
function readMismatchedText({ code, message }: ClickHouseError): string | undefined {
  if (code !== clickhouseCodes.typeMismatch && code !== clickhouseCodes.decimalOverflow) return undefined;
  return /(?:convert string|while converting) '([^']+)' to (?:type )?(?:Nullable\()?Date/.exec(message)?.[1];
}

/** The places of a text; for a text in a list, the whole list. With two lists, one of them could be a list of texts. */
function findTextPlaces({ tokens, times }: CompiledSql, params: Record<string, unknown>, text: string): TimeTexts[] {
  const having = times.filter((node) => hasText(tokens, node, params, text));
  const lists = new Set(having.flatMap(({ list }) => list ?? []));
  if (lists.size > 1) {
    throw invalidRequest(
      `sql: ${text} is in more than one list after IN; write toDateTime64('…', 3) for those that are times`,
    );
  }
  return times.filter((node) => (node.list === undefined ? having.includes(node) : lists.has(node.list)));
}
