import { expect, test } from 'vitest';
import { DeniedRequests } from '../../src/catalog/audit-log/denied-requests.ts';
import type { Context } from '../../src/create-context.ts';

type Line = { actor: string; action: string; count: number };

/** A catalogue that keeps the lines that it gets, and a clock. */
function recording() {
  const lines: Line[] = [];
  let now_ms = 1_000_000;
  const rows = (_: string, { some }: { some?: unknown } = {}) => {
    lines.push(...(JSON.parse(String(some)) as Line[]));
    return Promise.resolve([]);
  };
  const ctx = { now: () => now_ms, log: () => undefined, postgres: { rows } } as unknown as Context;
  return { ctx, lines, pass: (ms: number) => (now_ms += ms) };
}

const refusal = (actor: string) => ({ actor, requestId: 'r', action: 'GET /x', dataset: undefined, code: 'forbidden' });

test('those of one kind are one line with their number, and there is an end to the kinds', async () => {
  const { ctx, lines } = recording();
  const refusals = new DeniedRequests();
  const work = refusals.note(ctx, refusal('a'));
  expect([refusals.note(ctx, refusal('a')), refusals.note(ctx, refusal('b'))]).toEqual([undefined, undefined]);
  for (let n = 0; n < 1_000; n += 1) void refusals.note(ctx, refusal(`guess ${n}`));
  await work;
  expect(lines).toContainEqual(expect.objectContaining({ actor: 'a', count: 2 }));
  expect(lines.length).toBeLessThanOrEqual(501);
  expect(lines.reduce((sum, { count }) => sum + count, 0)).toBe(1_003);
  expect(refusals.note(ctx, refusal('c'))).toBeDefined();
});

test('they are recorded by the next one when the function that was to do it has ended', async () => {
  const { ctx, lines, pass } = recording();
  const refusals = new DeniedRequests();
  // Not awaited: as if the request that it belonged to had ended.
  expect(refusals.note(ctx, refusal('a'))).toBeDefined();
  expect(refusals.note(ctx, refusal('b'))).toBeUndefined();
  pass(6_000);
  await refusals.note(ctx, refusal('c'));
  expect(lines.map(({ actor }) => actor)).toEqual(expect.arrayContaining(['a', 'b', 'c']));
});
