import { ApiError } from '../../core/errors.ts';
import { type ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { CompiledSql } from './compile.ts';
import { joinTokens, type Token } from './lex.ts';

/**
 * A syntax error with its position in the SQL of the caller.
 *
 * @param prefix number of characters before the SQL in the text that ClickHouse parsed
 */
export function syntaxError(compiled: CompiledSql, error: ClickHouseError, prefix: number): ApiError | undefined {
  if (error.code !== clickhouseCodes.syntaxError) return undefined;
  const position = Number(/failed at position ([0-9]+)/.exec(error.message)?.[1] ?? 0) - prefix;
  const token = tokenAt(compiled.tokens, position - 1);
  const where = token === undefined ? 'at its end' : `at character ${token.at + 1}, near ${token.text.slice(0, 40)}`;
  return new ApiError('invalid-request', `sql: syntax error ${where} (SYNTAX_ERROR).`, {
    extra: { clickhouseCode: error.code, ...(token !== undefined && { position: token.at + 1 }) },
    cause: error,
  });
}

/** The token at a position of the joined text. */
function tokenAt(tokens: Token[], position: number): Token | undefined {
  let end = 0;
  return tokens.find((token) => {
    end += joinTokens([token], 'plain').length;
    return position < end;
  });
}
