import { type JsonPath, parseJsonPath } from './json-path.ts';

/** A placeholder, and what is read from it. */
export type Source =
  | { of: 'status' | 'responseTime' | 'body' | 'connected' | 'certificate' | 'rcode' }
  | { of: 'header'; name: string }
  | { of: 'json'; path: JsonPath };

export type Operand =
  | { kind: 'literal'; text: string }
  | { kind: 'source'; source: Source }
  | { kind: 'len' | 'has'; source: Source }
  | { kind: 'pattern'; glob: string }
  | { kind: 'any'; options: Operand[] };

/** In the order in which they are looked for, so that `<=` is not read as `<`. */
export const operators = ['==', '!=', '<=', '>=', '>', '<'] as const;
export type Operator = (typeof operators)[number];

export type Condition = { text: string; operator: Operator; left: Operand; right: Operand };

/** The kinds of checks that have conditions. */
export type ConditionedCheck = 'http' | 'tcp' | 'dns' | 'certificate';

const placeholders: Record<ConditionedCheck, string[]> = {
  http: ['STATUS', 'RESPONSE_TIME', 'BODY', 'HEADER', 'CONNECTED'],
  tcp: ['RESPONSE_TIME', 'CONNECTED'],
  dns: ['RESPONSE_TIME', 'BODY', 'CONNECTED', 'DNS_RCODE'],
  certificate: ['RESPONSE_TIME', 'CONNECTED', 'CERTIFICATE_EXPIRATION'],
};

class ConditionError extends Error {}

/**
 * Reads conditions such as `[STATUS] == 200`, `[BODY].items[0].id == any(a, b)`, `len([BODY].items) > 3`,
 * `[BODY] == pat(*ready*)` and `[CERTIFICATE_EXPIRATION] > 48h`.
 *
 * @returns the conditions, or the problem of each text that is none, with its index
 */
export function parseConditions(
  texts: string[],
  check: ConditionedCheck,
): { conditions: Condition[]; problems: { index: number; message: string }[] } {
  const conditions: Condition[] = [];
  const problems: { index: number; message: string }[] = [];
  for (const [index, text] of texts.entries()) {
    try {
      conditions.push(parseCondition(text, check));
    } catch (error) {
      if (!(error instanceof ConditionError)) throw error;
      problems.push({ index, message: error.message });
    }
  }
  return { conditions, problems };
}

function parseCondition(text: string, check: ConditionedCheck): Condition {
  const operator = operators.find((each) => text.includes(` ${each} `));
  if (operator === undefined) {
    throw new ConditionError(`It needs one of ${operators.join(' ')} with a space on each side`);
  }
  const [left = '', right = '', ...more] = text.split(` ${operator} `);
  if (more.length > 0) throw new ConditionError(`It has ${operator} more than once`);
  const operands = [left, right].map((each) => parseOperand(each.trim(), check));
  const [first, second] = operands as [Operand, Operand];
  if (operands.every(({ kind }) => kind === 'literal' || kind === 'pattern' || kind === 'any')) {
    throw new ConditionError('Neither side names a part of the answer, such as [STATUS]');
  }
  const isOrdering = operator !== '==' && operator !== '!=';
  for (const operand of operands) {
    if (isOrdering && (operand.kind === 'pattern' || operand.kind === 'any')) {
      throw new ConditionError('pat() and any() need == or !=');
    }
    if (isOrdering && operand.kind === 'literal' && numberOf(operand.text) === undefined) {
      throw new ConditionError(`${operand.text} is neither a number nor a duration`);
    }
  }
  return { text, operator, left: first, right: second };
}

function parseOperand(text: string, check: ConditionedCheck): Operand {
  if (text === '') throw new ConditionError('A side is empty');
  const [, call, argument = ''] = /^(len|has|pat|any)\((.*)\)$/s.exec(text) ?? [];
  if (call === 'pat') return { kind: 'pattern', glob: argument };
  if (call === 'any') {
    const options = argument.split(',').map((each) => parseOperand(each.trim(), check));
    if (options.some(({ kind }) => kind === 'any')) throw new ConditionError('any() contains another any()');
    return { kind: 'any', options };
  }
  if (call === 'len' || call === 'has') {
    const source = parseSource(argument.trim(), check);
    if (source?.of === 'body' || source?.of === 'json' || (call === 'has' && source?.of === 'header')) {
      return { kind: call, source };
    }
    throw new ConditionError(`${call}() takes [BODY] or a path in it`);
  }
  const source = parseSource(text, check);
  return source === undefined ? { kind: 'literal', text } : { kind: 'source', source };
}

function parseSource(text: string, check: ConditionedCheck): Source | undefined {
  const [, name = '', rest = ''] = /^\[([A-Z_]+)\](.*)$/s.exec(text) ?? [];
  if (name === '') return undefined;
  if (!placeholders[check].includes(name)) {
    const known = placeholders[check].map((each) => `[${each}]`).join(', ');
    throw new ConditionError(`[${name}] is unknown in a check of kind ${check}, which has ${known}`);
  }
  if (name === 'BODY' && rest !== '') {
    if (check === 'dns') throw new ConditionError('[BODY] of a DNS check is the list of its records, without a path');
    const path = parseJsonPath(rest);
    if (path === undefined) throw new ConditionError(`${rest} is not a path such as .items[0].id`);
    return { of: 'json', path };
  }
  if (name === 'HEADER') {
    const [, header] = /^\.([A-Za-z0-9_-]{1,100})$/.exec(rest) ?? [];
    if (header === undefined) throw new ConditionError('[HEADER] needs a name, such as [HEADER].content-type');
    return { of: 'header', name: header.toLowerCase() };
  }
  if (rest !== '') throw new ConditionError(`Unexpected text after [${name}]: ${rest}`);
  const of = { STATUS: 'status', RESPONSE_TIME: 'responseTime', BODY: 'body', CONNECTED: 'connected' } as const;
  const more = { CERTIFICATE_EXPIRATION: 'certificate', DNS_RCODE: 'rcode' } as const;
  return { of: { ...of, ...more }[name as keyof typeof of | keyof typeof more] };
}

const units_ms: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** A number, or a duration such as `48h` or `1h30m` in milliseconds. Undefined for any other text. */
export function numberOf(text: string): number | undefined {
  if (/^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return Number(text);
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|s))+$/.test(text)) return undefined;
  let sum_ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) {
    sum_ms += Number(count) * (units_ms[unit ?? ''] ?? 0);
  }
  return sum_ms;
}
