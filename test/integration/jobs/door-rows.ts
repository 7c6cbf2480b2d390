import { at } from '../support.ts';

/** Rows that every way in takes or refuses alike: what stands here is tried through each of them. */

export const time = (second: number) => `"timestamp":"${at(second)}"`;

/** Values of NDJSON that are stored as they are, each in a field of its own. */
const kept: [string, string][] = [
  ['whole', '1'],
  ['minus_zero', '-0.0'],
  ['digits', '0.1234567890123456789'],
  ['large', '1.7976931348623157e308'],
  ['subnormal', '5e-324'],
  ['beyond', '9007199254740993'],
  ['most', '9223372036854775807'],
  ['e22', '10000000000000000000000'],
  ['text', '"a\\u0000b\\n\\"\\\\é😀\\u2028"'],
  ['pair', '"\\ud83d\\ude00"'],
  ['yes', 'true'],
  ['nothing', 'null'],
  ['tags', '["a","b\\tc"]'],
  ['none', '[]'],
  ['nested', '{"b": 1.50,"b":2,"n":12345678901234567890123, "e":1e400,"s":"\\ud83d"}'],
  ['numbers', '[1, 2.0,1e999]'],
  ['constructor', '1'],
  ['a"b\\\\c', '"x"'],
];

/** The same as rows, also where they begin and end in ways of their own. */
export const keptLines = [
  `{${time(0)},"x":1}`,
  ...kept.map(([name, value], i) => `{"${name.replace('"', '\\"')}" : ${value} , ${time(i + 1)}}`),
  '',
  `{${time(40)},"tags":[],"late":{"a":[1]}}\r`,
  `{"timestamp":"2026-05-01T12:00:41\\u002b02:00","tags":["z"]} {${time(42)},"none":["later"]}`,
  `{"timestamp":1777629643000,\n"whole"\n:2}`,
];

const names = 'timestamp,n,i,s,q,b,l,zip,mixed,e,empty';
const rows = [
  `${at(1)},1,1,x,"1",true,"[""a""]",007,1,1e3,`,
  `${at(2)},-0.5,9007199254740993,"a ""b""\r\nc, d",,false,,+5,x,,`,
  `${at(3)},.5,,\\N,"",,[],.5,true,1E-5,`,
  '',
  `1777629604000,,,NULL,NaN,true,,,,,`,
];

/** Those of CSV, under every end of a line. */
export const csvTexts = [['\n'], ['\r\n'], ['\r'], ['\n', '\r\n'], ['\r\n', '\n']].map((ends) =>
  [names, ...rows].map((line, i) => `${line}${ends[Math.min(i, ends.length - 1)]}`).join(''),
);

/** Rows of NDJSON that are refused. */
export const badLines = [
  `{${time(1)},"v":1,"v":2}`,
  `{${time(1)},"v":null,"\\u0076":2}`,
  `{${time(1)},"v":"x"}`,
  `{${time(1)},"v":1e400}`,
  `{${time(1)},"v":1e-400}`,
  `{${time(1)},"s":"\\ud83d"}`,
  `{${time(1)},"\\ud83d":1}`,
  `{${time(1)},"_seq":1}`,
  `{${time(1)},"":1}`,
  `{"timestamp":"2026-05-01T10:00:00+24:00"}`,
  `{"timestamp":"2026-05-01T10:00:00"}`,
  `{"timestamp":1777629600}`,
  `{"timestamp":null}`,
  `{}`,
  `[1]`,
  `null`,
];
