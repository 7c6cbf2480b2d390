import { matchesGlob } from '../glob.ts';
import { type Condition, numberOf, type Operand, type Source } from './conditions.ts';
import { readPath } from './json-path.ts';
import type { Observation } from './observation.ts';

/** Whether a condition holds, and the text that its first side stands for. */
export type Judgement = { text: string; holds: boolean; value: string };

/**
 * Judges conditions by what a probe has seen. A path that leads nowhere differs from every value. In a body that is not JSON, no
 * condition with a path holds.
 */
export function evaluate(conditions: Condition[], observed: Observation): Judgement[] {
  const json = readJson(conditions, observed);
  return conditions.map((condition) => {
    const { text, operator, left, right } = condition;
    if (json === undefined && [left, right].some(needsJson)) return { text, holds: false, value: '' };
    const read = (source: Source) => readSource(source, observed, json?.value);
    const value = textOf(left, read) ?? '';
    if (operator === '==') return { text, holds: isEqual(left, right, read), value };
    if (operator === '!=') return { text, holds: !isEqual(left, right, read), value };
    const [a, b] = [left, right].map((operand) => numberOf(textOf(operand, read) ?? ''));
    if (a === undefined || b === undefined) return { text, holds: false, value };
    const holds = { '<=': a <= b, '>=': a >= b, '>': a > b, '<': a < b }[operator];
    return { text, holds, value };
  });
}

type Read = (source: Source) => unknown;

function isEqual(left: Operand, right: Operand, read: Read): boolean {
  if (left.kind === 'any') return left.options.some((option) => isEqual(option, right, read));
  if (right.kind === 'any') return right.options.some((option) => isEqual(left, option, read));
  if (left.kind === 'pattern' || right.kind === 'pattern') {
    const [pattern, other] =
      left.kind === 'pattern' ? [left, right] : [right as { kind: 'pattern'; glob: string }, left];
    const text = textOf(other, read);
    return text !== undefined && matchesGlob(pattern.glob, text);
  }
  const [a, b] = [textOf(left, read), textOf(right, read)];
  if (a === undefined || b === undefined) return false;
  if ([left, right].some((operand) => Array.isArray(sourceValue(operand, read)))) return sorted(a) === sorted(b);
  return a === b || isSameNumber(a, b);
}

/** Numbers and durations in other notations: `1.0` and `1`, `2s` and `2000`. Long integers are compared digit by digit. */
function isSameNumber(a: string, b: string): boolean {
  const [one, other] = [numberOf(a), numberOf(b)];
  if (one === undefined || one !== other) return false;
  const isLong = [a, b].every((text) => /^-?\d{16,}$/.test(text));
  return !isLong;
}

function sorted(list: string): string {
  return list
    .split(',')
    .map((each) => each.trim())
    .sort()
    .join(', ');
}

function sourceValue(operand: Operand, read: Read): unknown {
  return operand.kind === 'source' ? read(operand.source) : undefined;
}

/** Undefined for a value that does not exist. */
function textOf(operand: Operand, read: Read): string | undefined {
  switch (operand.kind) {
    case 'literal':
      return operand.text;
    case 'has':
      return String(read(operand.source) !== undefined);
    case 'len': {
      const value = read(operand.source);
      if (value === undefined) return undefined;
      if (Array.isArray(value)) return String(value.length);
      return String(typeof value === 'object' && value !== null ? Object.keys(value).length : asText(value).length);
    }
    case 'source': {
      const value = read(operand.source);
      return value === undefined ? undefined : asText(value);
    }
    default:
      return undefined;
  }
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function readSource(source: Source, observed: Observation, json: unknown): unknown {
  switch (source.of) {
    case 'status':
      return observed.status;
    case 'responseTime':
      return observed.responseTime_ms;
    case 'body':
      return observed.records ?? observed.body;
    case 'connected':
      return observed.isConnected;
    case 'certificate':
      return observed.certificateExpiresIn_ms;
    case 'rcode':
      return observed.dnsRcode;
    case 'header':
      return observed.headers?.get(source.name);
    case 'json':
      return readPath(json, source.path);
  }
}

function needsJson(operand: Operand): boolean {
  if (operand.kind === 'any') return operand.options.some(needsJson);
  return 'source' in operand && operand.source.of === 'json';
}

/** Undefined for a body that is not JSON, or that is not needed as JSON. */
function readJson(conditions: Condition[], { body }: Observation): { value: unknown } | undefined {
  if (body === undefined || !conditions.some(({ left, right }) => needsJson(left) || needsJson(right)))
    return undefined;
  try {
    return { value: JSON.parse(body) };
  } catch {
    return undefined;
  }
}
