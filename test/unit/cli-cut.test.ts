import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Batch, type Cuts, cutText, findLine, hashBody } from '../../src/cli/ingest/cut.ts';

const fresh: Cuts = { endAt: () => undefined, nextStart: () => undefined };

/** As a file is read: in pieces, wherever they end. */
async function* pieces(text: string | Buffer, sizes: number[]): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const size = sizes[i % sizes.length] ?? 1;
    yield await Promise.resolve(bytes.subarray(at, at + size));
    at += size;
  }
}

async function cut(
  text: string | Buffer,
  format: 'ndjson' | 'csv',
  limits = { rows: 3, bytes: 1_000 },
  cuts: Cuts = fresh,
  sizes = [7, 1, 30],
): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of cutText(pieces(text, sizes), format, 'file', limits, cuts)) batches.push(batch);
  return batches;
}

const recorded = (batches: Batch[]): Cuts => {
  const starts = batches.map(({ start }) => start).sort((a, b) => a - b);
  return {
    endAt: (start) => batches.find((batch) => batch.start === start)?.end,
    nextStart: (start) => starts.find((each) => each > start),
  };
};

const bodies = (batches: Batch[]) => batches.map(({ body }) => body.toString());

const ndjsonText = fc
  .array(
    fc.oneof(
      fc.string().map((s) => JSON.stringify({ s })),
      fc.constantFrom('', '  ', '\r'),
    ),
    { maxLength: 40 },
  )
  .chain((lines) => fc.constantFrom('', '\n').map((end) => lines.join('\n') + end));

const cell = fc.oneof(
  fc.string({ maxLength: 8 }).map((s) => `"${s.replaceAll('"', '""')}"`),
  fc.constantFrom('1', '"a\nb"', '"a\n\nb ""c"""', ''),
);
const csvText = fc
  .array(fc.tuple(cell, cell), { maxLength: 30 })
  .map((rows) => ['x,y', ...rows.map((cells) => cells.join(','))].join('\n'));

describe('a file is cut', () => {
  test('at the same places however it is read, and nothing of it is left out or said twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        ndjsonText,
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        fc.integer({ min: 1, max: 5 }),
        async (text, sizes, rows) => {
          const limits = { rows, bytes: 60 };
          const batches = await cut(text, 'ndjson', limits, fresh, sizes);
          expect(bodies(batches)).toEqual(bodies(await cut(text, 'ndjson', limits, fresh, [10_000])));
          const lines = bodies(batches).join('').split('\n');
          const rowsOf = (each: string[]) => each.filter((line) => line.trim() !== '');
          expect(rowsOf(lines)).toEqual(rowsOf(text.split('\n')));
          for (const { body, hash } of batches) expect(hash).toBe(hashBody(body));
          for (let i = 1; i < batches.length; i += 1)
            expect(batches[i]?.start).toBeGreaterThanOrEqual(batches[i - 1]?.end ?? 0);
        },
      ),
    );
  });

  test('between rows of CSV, which may have line breaks in quotes, each batch with the names', async () => {
    await fc.assert(
      fc.asyncProperty(csvText, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), async (text, sizes) => {
        const batches = await cut(text, 'csv', { rows: 2, bytes: 40 }, fresh, sizes);
        for (const { body, namesBytes } of batches) {
          expect(body.subarray(0, namesBytes).toString()).toBe('x,y\n');
          expect((body.toString().match(/"/g)?.length ?? 0) % 2).toBe(0);
        }
        const joined = batches.map(({ body, namesBytes }) => body.subarray(namesBytes).toString()).join('');
        expect(`x,y\n${joined}`.trimEnd()).toBe(text.trimEnd());
      }),
    );
  });

  test('where it was cut before, so that unrecorded rows and the growth of the file are left', async () => {
    const mask = fc.array(fc.boolean(), { minLength: 40, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(ndjsonText, ndjsonText, fc.integer({ min: 1, max: 6 }), mask, async (text, more, rows, kept) => {
        const all = await cut(text, 'ndjson', { rows: 3, bytes: 60 });
        const before = all.filter((_, i) => kept[i]);
        const grown = `${text}${text.endsWith('\n') || text === '' ? '' : '\n'}${more}`;
        const after = await cut(grown, 'ndjson', { rows, bytes: 100 }, recorded(before));
        const isKnown = ({ start, hash }: Batch) => before.some((each) => each.start === start && each.hash === hash);
        expect(after.filter(isKnown)).toHaveLength(before.length);
        const rowsOf = (each: string) => each.split('\n').filter((line) => line.trim() !== '');
        const lost = rowsOf(bodies(all.filter((_, i) => !kept[i])).join(''));
        expect(rowsOf(bodies(after.filter((batch) => !isKnown(batch))).join(''))).toEqual([...lost, ...rowsOf(more)]);
      }),
    );
  });
});

test('an invalid row is named by its line in the file', async () => {
  const ndjson = await cut('\n{"a":1}\n\n{"a":2}\n{"a":3}\n\n{"a":4}\n{"a":5}', 'ndjson', { rows: 2, bytes: 1_000 });
  expect(ndjson.flatMap((batch) => [findLine(batch, 0), findLine(batch, 1)]).slice(0, 5)).toEqual([2, 4, 5, 7, 8]);
  const csv = await cut('x,y\n1,"a\nb"\n2,c\n\n3,d\n', 'csv', { rows: 2, bytes: 1_000 });
  expect([findLine(csv[0] as Batch, 0), findLine(csv[0] as Batch, 1), findLine(csv[1] as Batch, 0)]).toEqual([2, 4, 6]);
});

test('a byte order mark is no part of the first row', async () => {
  const [first] = await cut('\uFEFF{"a":1}\n', 'ndjson', undefined, fresh, [100]);
  expect([first?.body.toString(), first?.start]).toEqual(['{"a":1}\n', 3]);
  const [csv] = await cut('\uFEFFx,y\n1,2\n', 'csv', undefined, fresh, [100]);
  expect(csv?.body.toString()).toBe('x,y\n1,2\n');
});

test('a row without an end is refused, with the reason and its line', async () => {
  const long = `{"a":1}\n{"a":"${'x'.repeat(5_000_000)}`;
  await expect(cut(long, 'ndjson', undefined, fresh, [1_000_000])).rejects.toThrow(/line 2: .*the line does not end/);
  const open = `x,y\n1,"${'a\n'.repeat(2_500_000)}`;
  await expect(cut(open, 'csv', undefined, fresh, [1_000_000])).rejects.toThrow(/a quote is not closed/);
});

test('lines of CSV end with CR too, with and without LF, wherever the pieces are cut', async () => {
  for (const sizes of [[1], [2], [3, 1], [1_000]]) {
    const text = 'a,b\r1,"x\ry"\r2,z\r\n3,w\n4,v\r';
    const batches = await cut(text, 'csv', { rows: 2, bytes: 1_000 }, fresh, sizes);
    expect(bodies(batches)).toEqual(['a,b\r\n1,"x\ry"\r2,z\r\n', 'a,b\r\n3,w\n4,v\r\n']);
    expect(batches.map((batch) => [findLine(batch, 0), findLine(batch, 1)])).toEqual([
      [2, 4],
      [5, 6],
    ]);
  }
});
