import { expect, test } from 'vitest';
import { decodeToken, encodeToken } from '../../src/buffer/watermark-token.ts';

const watermark = {
  dataset: 'd',
  table: 't',
  lanes: [
    [0, 'abc', 3],
    [1, 'def', 0],
  ] satisfies [number, string, number][],
};

test('a token says what was put in, opaque and fit for a header', () => {
  const token = encodeToken(watermark);
  expect(token).toMatch(/^wm1\.[A-Za-z0-9_-]+$/);
  expect(decodeToken(token)).toEqual(watermark);
});

test.each(['', 'wm1.', 'wm1.!!', 'wm2.e30', 'e30', 'wm1.e30', `${encodeToken(watermark).slice(0, -4)}`])(
  '%j is no token',
  (text) => {
    expect(decodeToken(text)).toBeUndefined();
  },
);
