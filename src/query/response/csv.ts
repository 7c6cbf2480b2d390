import { isFinerTime, withoutZeros } from '../request/finer-times.ts';

/** A cell and its separator. */
const cell = /("(?:[^"]|"")*"|[^",\n]*)([,\n])/y;

/** Streams the ClickHouse format `CSVWithNamesAndTypes` without its line of types and without trailing zeros of times. */
export async function* csvAnswer(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  const times = new Set<number>();
  let text = '';
  let line = 0;
  let column = 0;
  /** Grows for a long cell, so that it is not searched again with each chunk. */
  let chars_min = 0;
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length < chars_min) continue;
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
    chars_min = text.length * 2;
    if (ready !== '') yield ready;
  }
  if (text !== '') yield text;
}
