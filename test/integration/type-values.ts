import type { Field } from '../../src/schema/types.ts';

/** Values of each type as they are sent, and as they are answered if that is another text. */
const values: [type: Field['type'], values: (string | [sent: string, answered: string])[]][] = [
  [
    'double',
    [
      '"NaN"',
      '"Infinity"',
      '"-Infinity"',
      '0',
      '0.1',
      '5e-324',
      '9007199254740992',
      '1.7976931348623157e308',
      ...([
        ['-0', '-0'],
        ['1e0', '1'],
        ['0e-400', '0'],
      ] as [string, string][]),
    ],
  ],
  [
    'unsigned',
    [
      '0',
      '1',
      '9007199254740993',
      '9223372036854775808',
      '18446744073709551615',
      ...([
        ['"18446744073709551614"', '18446744073709551614'],
        ['1e3', '1000'],
        ['-0', '0'],
      ] as [string, string][]),
    ],
  ],
  [
    'decimal(9,2)',
    [
      ...(['0', '1.5', '-1234567.89'] as const).map((each): [string, string] => [each, `"${each}"`]),
      ...(['"1.50"', '150e-2', '15e-1', '1.500'] as const).map((each): [string, string] => [each, '"1.5"']),
    ],
  ],
  ['decimal(18,0)', ['"-999999999999999999"', ['999999999999999999', '"999999999999999999"']]],
  ['decimal(38,38)', ['"0.00000000000000000000000000000000000001"', `"-0.${'9'.repeat(38)}"`]],
  [
    'decimal(76,10)',
    [`"-${'9'.repeat(66)}.9999999999"`, [`${'1234567890'.repeat(6)}123456.5`, `"${'1234567890'.repeat(6)}123456.5"`]],
  ],
  ['integer', ['0', '-9223372036854775808', '9223372036854775807', ['1e18', '1000000000000000000']]],
  ['string', ['""', '"NaN"', '"nan"', '"inf"', '"\\\\N"', '"a,\\"b\\"\\n"']],
  [
    'map',
    [
      '{"b":"x","a":""}',
      '{"2":"two","10":"ten","1":"one","x":"y"}',
      '{"__proto__":"p","constructor":"c","":"\\u0000"}',
      '{}',
      '{"a/b":"nan","\\"":"é\\n\\u2028"}',
    ],
  ],
  ['boolean', ['true', 'false']],
  ['json', [['{"b":1.50,"a":["nan"]}', '"{\\"b\\":1.50,\\"a\\":[\\"nan\\"]}"']]],
  ['string[]', ['["nan","inf"]', '["a,\\"b"]']],
  ['vector(2)', ['[1,0.5]', '[1e-45,-3.4028235e38]']],
];

/** A field of each type. */
export const fields = values.map(([type], i): Field => ({ name: `f${i}`, type }));
const rows = Math.max(...values.map(([, of]) => of.length));
const start_ms = Date.UTC(2026, 4, 1);
export const timeOf = (n: number) => new Date(start_ms + n * 1_000).toISOString();

/** The n-th row: the n-th value of each type, and from its last on nothing. */
function line(n: number, as: 'sent' | 'answered', all = fields): string {
  const members = all.map(({ name }, i) => {
    const value = values[i]?.[1][n];
    if (value === undefined) return as === 'sent' ? '' : `,"${name}":${absentOf(i)}`;
    const text = typeof value === 'string' ? value : value[as === 'sent' ? 0 : 1];
    return `,"${name}":${text}`;
  });
  return `{"timestamp":"${timeOf(n)}"${members.join('')}}`;
}

function absentOf(i: number): string {
  const type = fields[i]?.type ?? 'string';
  if (type === 'map') return '{}';
  return type === 'string[]' || type.startsWith('vector') ? '[]' : 'null';
}

/** All rows as lines of NDJSON, and as they are answered. */
export const all = (as: 'sent' | 'answered') => Array.from({ length: rows }, (_, n) => line(n, as));
export const expected = `${all('answered').join('\n')}\n`;

/** For values that were answered: what `json` holds is text. */
export const answeredFields = fields.map(
  ({ name, type }): Field => ({ name, type: type === 'json' ? 'string' : type }),
);
