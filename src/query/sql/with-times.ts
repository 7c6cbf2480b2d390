import { invalidRequest } from '../../core/invalid-request.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { CompiledSql } from './compile.ts';
import { hasText, type TimeTexts } from './iso-times.ts';

/**
 * Runs SQL, and again where ClickHouse says that a text is compared with a time and is none to it. All texts in comparisons
 * are then times, as long as none is compared with text: then only those are that ClickHouse names. What was found out
 * stays with the compiled SQL. These errors come before any row is read.
 *
 * @throws TimestoreError as it came, where that does not help
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
      // Another run of the same SQL has found out more.
      if (compiled.asTimes !== before) continue;
      if (isMismatch(cause) && before.size > 0) {
        if (isNarrow) throw severalMeanings('A text');
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

/** More texts than anybody compares with times one by one. */
const rounds_max = 50;

function severalMeanings(text: string) {
  return invalidRequest(
    `sql: ${text} is compared with a time and with text; write toDateTime64('…', 3, 'UTC') where it is a time`,
  );
}

/** Text that is compared with what is now a time. */
function isMismatch({ code }: ClickHouseError): boolean {
  return code === clickhouseCodes.illegalTypeOfArgument || code === clickhouseCodes.noCommonType;
}

/** The text that is no time to ClickHouse, or one outside of what the column's type can hold. */
function readMismatchedText({ code, message }: ClickHouseError): string | undefined {
  if (code !== clickhouseCodes.typeMismatch && code !== clickhouseCodes.decimalOverflow) return undefined;
  return /(?:convert string|while converting) '([^']+)' to (?:type )?(?:Nullable\()?Date/.exec(message)?.[1];
}

/** With a text that stands in a list, all of the list. In two lists, one of them may be of texts: nothing would say so. */
function findTextPlaces({ tokens, times }: CompiledSql, params: Record<string, unknown>, text: string): TimeTexts[] {
  const having = times.filter((node) => hasText(tokens, node, params, text));
  const lists = new Set(having.flatMap(({ list }) => list ?? []));
  if (lists.size > 1) {
    throw invalidRequest(
      `sql: ${text} stands in more than one list after IN; write toDateTime64('…', 3) for those that are times`,
    );
  }
  return times.filter((node) => (node.list === undefined ? having.includes(node) : lists.has(node.list)));
}
