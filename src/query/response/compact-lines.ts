import { JsonReader } from '../../schema/json-reader.ts';
import { isFinerTime, withoutZeros } from '../request/finer-times.ts';

/** Streams lists of values, which follow a line of names and a line of types. Removes trailing zeros of times. */
export async function* compactLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder();
  let times: boolean[] | undefined;
  let text = '';
  let line = 0;
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    const hasNoTimes = times !== undefined && !times.includes(true);
    const end = hasNoTimes ? text.length : text.lastIndexOf('\n') + 1;
    if (end === 0) continue;
    const whole = text.slice(0, end);
    text = text.slice(end);
    if (hasNoTimes) {
      yield Buffer.from(whole);
      continue;
    }
    const lines = whole.slice(0, -1).split('\n');
    const ready = lines.map((list) => {
      line += 1;
      if (line === 2) times = (JSON.parse(list) as string[]).map(isFinerTime);
      return line > 2 && times?.includes(true) ? trimTimes(list, times) : list;
    });
    yield Buffer.from(`${ready.join('\n')}\n`);
  }
  if (text !== '') yield Buffer.from(text);
}

function trimTimes(list: string, times: boolean[]): string {
  const reader = new JsonReader(list);
  const values: string[] = [];
  reader.expect('[');
  if (reader.peek() === ']') return list;
  do {
    const { text } = reader.value();
    values.push(times[values.length] ? withoutZeros(text) : text);
  } while (reader.take(','));
  return `[${values.join(',')}]`;
}
