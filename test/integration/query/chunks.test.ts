import { expect, test } from 'vitest';
import { BrokenOff, readChunks } from '../../../src/stores/clickhouse/byte-stream.ts';
import { newInstance, sql } from '../support.ts';

const ctx = newInstance();

async function open(body: string) {
  return await ctx.reader.open({ settings: {}, body, timeout_ms: 30_000, signal: new AbortController().signal });
}

test('[elsewhere 19] an error in the middle of an answer is thrown, and none of its words is passed on', async () => {
  const opened = await open(
    `SELECT intDiv(1, toInt64(3000000) - toInt64(number)) AS n, hex(sipHash64(number)) AS h FROM numbers(4000000)
     FORMAT JSONEachRow`,
  );
  let bytes = 0;
  let last = '';
  const reading = (async () => {
    for await (const chunk of readChunks(opened)) {
      bytes += chunk.length;
      last = (last + Buffer.from(chunk).toString()).slice(-5_000);
    }
  })();
  // With its code where its words came before the end of the connection.
  await expect(reading).rejects.toSatisfy((error) => error instanceof BrokenOff || error.code === 153);
  expect(bytes).toBeGreaterThan(100_000);
  expect(last).not.toMatch(/__exception__|Exception|Code: /);
});

test('the marker of an error is found wherever the pieces of an answer end, and nothing else is held back', async () => {
  const tag = 'abcdefghijklmnop';
  const told = `rows\r\n__exception__\r\n${tag}\r\nCode: 153. DB::Exception: no (ILLEGAL_DIVISION)\n9 ${tag}\r\n__exception__\r\n`;
  for (let size = 1; size <= told.length; size += 1) {
    const pieces = told.match(new RegExp(`[\\s\\S]{1,${size}}`, 'g')) ?? [];
    const body = new ReadableStream<Uint8Array>({
      type: 'bytes',
      start(controller: ReadableByteStreamController) {
        for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece).slice());
        controller.close();
      },
    } as unknown as UnderlyingSource<Uint8Array>);
    let text = '';
    const reading = (async () => {
      for await (const chunk of readChunks({ body, exceptionTag: tag })) text += Buffer.from(chunk).toString();
    })();
    await expect(reading).rejects.toMatchObject({ code: 153 });
    expect('rows').toContain(text);
  }
  const whole = 'a\r\n__exception__\r\nof other letters\r\n';
  let text = '';
  for await (const chunk of readChunks({ body: new Blob([whole]).stream(), exceptionTag: tag }))
    text += Buffer.from(chunk).toString();
  expect(text).toBe(whole);
});

test('an answer that fails before any of it was given out is an error with its reason, however many rows came first', async () => {
  for (const rows of [10, 20_000, 100_000]) {
    const text = `SELECT intDiv(1, toInt64(${rows - 1}) - toInt64(number)) AS n FROM numbers(${rows})`;
    await expect(sql(ctx, text)).rejects.toThrow('Division by zero');
  }
});
