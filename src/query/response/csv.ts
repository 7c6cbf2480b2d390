import { isFinerTime, withoutZeros } from '../request/finer-times.ts';

/** A cell, and what ends it. */
const cell = /("(?:[^"]|"")*"|[^",\n]*)([,\n])/y;

/**
 * Makes an answer of what ClickHouse writes in format `CSVWithNamesAndTypes`, as it comes: without the line of types, and with
 * as many digits of a second in times as there is something in.
 */
export async function* csvAnswer(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  const times = new Set<number>();
  let text = '';
  let line = 0;
  let column = 0;
  /** A cell that goes on for long is not looked through again with each piece that comes. */
  let wanted = 0;
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length < wanted) continue;
    if (line > 1 && times.size === 0) {
      yield text;
      text = '';
      continue;
    }
    let ready = '';
    cell.lastIndex = 0;
    let done = 0;
    for (let found = cell.exec(text); found !== null; found = cell.exec(text)) {
      const [, value = '', end] = found;
      if (line === 1) {
        if (isFinerTime(value)) times.add(column);
      } else ready += times.has(column) ? withoutZeros(value) + end : value + end;
      done = cell.lastIndex;
      column += 1;
      if (end === '\n') {
        column = 0;
        line += 1;
      }
    }
    text = text.slice(done);
    wanted = text.length * 2;
    if (ready !== '') yield ready;
  }
  if (text !== '') yield text;
}
