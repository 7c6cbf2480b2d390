import { ApiError } from '../../core/errors.ts';
import { type ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { CompiledSql } from './compile.ts';
import { joinTokens, type Token } from './lex.ts';

/**
 * Where SQL stops being SQL, in the caller's own text.
 *
 * @param prefix how many characters stood before the text that ClickHouse was given
 */
export function syntaxError(compiled: CompiledSql, error: ClickHouseError, prefix: number): ApiError | undefined {
  if (error.code !== clickhouseCodes.syntaxError) return undefined;
  const position = Number(/failed at position ([0-9]+)/.exec(error.message)?.[1] ?? 0) - prefix;
  const token = tokenAt(compiled.tokens, position - 1);
  const where = token === undefined ? 'at its end' : `at character ${token.at + 1}, near ${token.text.slice(0, 40)}`;
  return new ApiError('invalid-request', `sql: it cannot be read ${where} (SYNTAX_ERROR).`, {
    extra: { clickhouseCode: error.code, ...(token !== undefined && { position: token.at + 1 }) },
    cause: error,
  });
}

/** The token at a place of the text that they make. */
function tokenAt(tokens: Token[], place: number): Token | undefined {
  let end = 0;
  return tokens.find((token) => {
    end += joinTokens([token], 'plain').length;
    return place < end;
  });
}
