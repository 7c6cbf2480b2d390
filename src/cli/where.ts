import type { Filter } from '../client/index.ts';
import { type Operator, operatorNames, operators, takesList } from '../query/request/operators.ts';
import { usage } from './failure.ts';

const signs: Record<string, Operator> = {
  '=': 'eq',
  '==': 'eq',
  '!=': 'ne',
  '<': 'lt',
  '<=': 'lte',
  '>': 'gt',
  '>=': 'gte',
};
/**
 * Parses a condition: `celsius>=20`, `sensor = a`, `sensor startsWith a`, `celsius between 10,30`, `note isNull`. A value is
 * JSON, else text: `zip="0123"`.
 *
 * @throws CliFailure
 */
export function parseFilter(text: string): Filter {
  const word = /^\s*(\S+)\s+([A-Za-z]+)(?:\s+(.*?))?\s*$/s.exec(text);
  const byWord = operatorNames.find((each) => each.toLowerCase() === word?.[2]?.toLowerCase());
  const [, column, sign, rest] =
    word !== null && byWord !== undefined
      ? [word[0], word[1], byWord, word[3]]
      : (/^\s*([^\s=!<>]+)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*$/s.exec(text) ?? []);
  const op = byWord ?? signs[sign ?? ''];
  if (column === undefined || op === undefined) {
    throw usage(
      `--where "${text}" is not a condition. Use COLUMN=VALUE, COLUMN>=VALUE, or COLUMN OPERATOR VALUE (${operatorNames.join(' ')}).`,
    );
  }
  if (operators[op].operand === 'none') return { column, op };
  if (rest === undefined || rest === '')
    throw usage(`--where "${text}": ${op} requires a value; use "" for empty text.`);
  return { column, op, value: takesList(op, false) ? parseList(rest) : parseScalar(rest) };
}

type Scalar = string | number | boolean | null;

function parseScalar(text: string): Scalar {
  const value = parseJson(text);
  // A number would round integers beyond 2^53: the API takes their digits as text.
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value) ? text : value;
  return typeof value === 'string' || typeof value === 'boolean' || value === null ? value : text;
}

function parseList(text: string): Scalar[] {
  const value = parseJson(text);
  if (Array.isArray(value)) return value as Scalar[];
  return text.split(',').map((each) => parseScalar(each.trim()));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
