import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ConditionedCheck, parseConditions } from '../../../src/monitoring/checks/conditions.ts';
import { evaluate } from '../../../src/monitoring/checks/evaluate.ts';
import type { Observation } from '../../../src/monitoring/checks/observation.ts';
import { matchesGlob } from '../../../src/monitoring/glob.ts';

const seen: Observation = {
  isConnected: true,
  status: 200,
  responseTime_ms: 120,
  headers: new Map([['content-type', 'application/json']]),
  body: '{"status":"UP","items":[{"id":1},{"id":"b","big":12345}],"none":null,"list":["x","y"],"empty":{}}',
};

function holds(text: string, observed: Observation = seen, check: ConditionedCheck = 'http'): boolean | undefined {
  const { conditions, problems } = parseConditions([text], check);
  expect(problems).toEqual([]);
  return evaluate(conditions, observed)[0]?.holds;
}

test.each([
  ['[STATUS] == 200', true],
  ['[STATUS] == any(200, 429)', true],
  ['[STATUS] == any(204, 429)', false],
  ['[STATUS] < 300', true],
  ['[STATUS] <= 199', false],
  ['[STATUS] >= 200', true],
  ['200 == [STATUS]', true],
  ['[RESPONSE_TIME] < 800', true],
  ['[RESPONSE_TIME] < 1s', true],
  ['[RESPONSE_TIME] > 0.5s', false],
  ['[CONNECTED] == true', true],
  ['[BODY].status == UP', true],
  ['[BODY].status != UP', false],
  ['[BODY].status == pat(U*)', true],
  ['[BODY].status == any(DOWN, pat(*P))', true],
  ['[BODY].items[0].id == 1', true],
  ['[BODY].items[1].id == b', true],
  ['[BODY].items[2].id == b', false],
  ['[BODY].items[2].id != b', true],
  ['len([BODY].items) == 2', true],
  ['len([BODY].status) == 2', true],
  ['len([BODY].empty) == 0', true],
  ['has([BODY].none) == true', true],
  ['has([BODY].nope) == false', true],
  ['has([BODY].items[0].constructor) == false', true],
  ['has([BODY].__proto__) == false', true],
  ['[BODY].none == null', true],
  ['[BODY] == pat(*"status":"UP"*)', true],
  ['[HEADER].Content-Type == application/json', true],
  ['has([HEADER].etag) == false', true],
  ['[BODY].status > 3', false],
  ['[BODY].status < 3', false],
])('%s is %s', (text, expected) => {
  expect(holds(text)).toBe(expected);
});

test('a body that is not JSON meets no condition with a path', () => {
  const html = { ...seen, body: '<html>' };
  expect(holds('[BODY].status != DOWN', html)).toBe(false);
  expect(holds('has([BODY].x) == false', html)).toBe(false);
  expect(holds('[BODY] == <html>', html)).toBe(true);
});

test('records of a name are compared without their order', () => {
  const dns: Observation = { isConnected: true, dnsRcode: 'NOERROR', records: ['192.0.2.1', '192.0.2.2'] };
  expect(holds('[BODY] == 192.0.2.2, 192.0.2.1', dns, 'dns')).toBe(true);
  expect(holds('[BODY] == 192.0.2.2', dns, 'dns')).toBe(false);
  expect(holds('[DNS_RCODE] == NOERROR', dns, 'dns')).toBe(true);
});

test('certificates are compared with durations', () => {
  const left = { isConnected: true, certificateExpiresIn_ms: 49 * 3_600_000 };
  expect(holds('[CERTIFICATE_EXPIRATION] > 48h', left, 'certificate')).toBe(true);
  expect(holds('[CERTIFICATE_EXPIRATION] > 50h', left, 'certificate')).toBe(false);
});

test.each([
  ['[STATUS]', 'http', /needs one of/],
  ['[STATUS]==200', 'http', /a space on each side/],
  ['[STATUS] == 200 == 3', 'http', /more than once/],
  ['1 == 1', 'http', /Neither side/],
  ['[STATUS] > pat(2*)', 'http', /need == or !=/],
  ['[STATUS] > abc', 'http', /neither a number nor a duration/],
  ['[IP] == 1', 'http', /\[IP\] is unknown/],
  ['[STATUS] == 200', 'tcp', /\[STATUS\] is unknown in a check of kind tcp/],
  ['[BODY].$.a[?match(@.b, "x")] == 1', 'http', /is not a path/],
  ['[BODY].a[*].b == 1', 'http', /is not a path/],
  ['[HEADER] == x', 'http', /needs a name/],
  ['len([STATUS]) == 3', 'http', /takes \[BODY\]/],
  ['any(any(1)) == [STATUS]', 'http', /another any/],
  ['[STATUS]x == 1', 'http', /Unexpected text/],
] as const)('%s is refused for %s', (text, check, message) => {
  expect(parseConditions(['[CONNECTED] == true', text], check).problems).toEqual([
    { index: 1, message: expect.stringMatching(message) },
  ]);
});

test('a number in a body holds for exactly one of <, == and >', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer(), (a, b) => {
      const observed = { isConnected: true, body: JSON.stringify({ a }) };
      const results = ['<', '==', '>'].map((operator) => holds(`[BODY].a ${operator} ${b}`, observed));
      expect(results).toEqual([a < b, a === b, a > b]);
      expect(holds(`[BODY].a != ${b}`, observed)).toBe(a !== b);
      expect(holds(`[BODY].a <= ${b}`, observed)).toBe(a <= b);
    }),
  );
});

test('any text either is a condition that can be judged, or has a problem', () => {
  const part = fc.constantFrom(
    '[STATUS]',
    '[BODY]',
    '.a',
    '[0]',
    ' == ',
    ' < ',
    'pat(',
    'any(',
    'len(',
    ')',
    '*',
    ',',
    '1',
    'x',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const { conditions, problems } = parseConditions([parts.join('')], 'http');
      expect(conditions.length + problems.length).toBe(1);
      for (const { holds: found } of evaluate(conditions, seen)) expect(typeof found).toBe('boolean');
    }),
  );
});

test('a pattern matches as a regular expression with .* does', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
  fc.assert(
    fc.property(letters, fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 }), (glob, text) => {
      expect(matchesGlob(glob, text)).toBe(new RegExp(`^${glob.replaceAll('*', '.*')}$`).test(text));
    }),
    { numRuns: 2_000 },
  );
});

test('a pattern takes little time for a text made to be slow', () => {
  expect(matchesGlob('*a*a*a*a*a*a*a*a*a*a*b', 'a'.repeat(65_536))).toBe(false);
});
