import { JsonReader } from '../schema/json-reader.ts';
import { isFinerTime, withoutZeros } from './finer-times.ts';

/**
 * Lists of values as lines, after those of names and types, as they come: with as many digits of a second in times as there is
 * something in.
 */
export async function* compactLines(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder();
  let times: boolean[] | undefined;
  let text = '';
  let line = 0;
  try {
    for await (const chunk of chunks) {
      if (times !== undefined && !times.includes(true)) {
        yield chunk;
        continue;
      }
      text += decoder.decode(chunk, { stream: true });
      const end = text.lastIndexOf('\n') + 1;
      if (end === 0) continue;
      const lines = text.slice(0, end - 1).split('\n');
      text = text.slice(end);
      const ready = lines.map((list) => {
        line += 1;
        if (line === 2) times = (JSON.parse(list) as string[]).map(isFinerTime);
        return line > 2 && times?.includes(true) ? trimmed(list, times) : list;
      });
      // Where nothing is to be changed, what has begun goes along.
      const rest = times !== undefined && !times.includes(true) ? text : '';
      if (rest !== '') text = '';
      yield Buffer.from(`${ready.join('\n')}\n${rest}`);
    }
    if (text !== '') yield Buffer.from(text);
  } finally {
    await chunks.return(undefined);
  }
}

function trimmed(list: string, times: boolean[]): string {
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
