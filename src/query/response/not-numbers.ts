import { JsonReader, JsonSyntaxError } from '../../schema/json-reader.ts';
import { type ClickHouseType, readType } from './clickhouse-type.ts';
import type { Column } from './json.ts';

/** NaN and infinities as ClickHouse writes them, and as answers have them, which ingest accepts. */
const names: Record<string, string> = {
  '"nan"': '"NaN"',
  '"-nan"': '"NaN"',
  '"inf"': '"Infinity"',
  '"-inf"': '"-Infinity"',
};

const candidate = /"-?(?:nan|inf)"/;
const candidateEnds = ['nan"', 'inf"'];

/** Renames NaN and infinities in rows of JSON, separated by commas, to the names of JavaScript. */
export function namedRows(rows: string, columns: Column[]): string {
  if (!candidate.test(rows)) return rows;
  const types = columns.map(({ type }) => readType(type));
  if (types.every((type) => type.kind === 'other')) return rows;
  const reader = new JsonReader(rows);
  const named: string[] = [];
  try {
    do named.push(namedValue(reader, { kind: 'tuple', items: types }));
    while (reader.take(','));
  } catch (error) {
    // Nested too deep for the reader: such values have a type without floating point numbers.
    if (error instanceof JsonSyntaxError) return rows;
    throw error;
  }
  return named.join(',');
}

/**
 * Renames NaN and infinities in a stream of lines.
 *
 * @param findColumns called once, if a line may contain such a number
 */
export async function* namedLines(
  chunks: AsyncGenerator<Uint8Array>,
  findColumns: () => Promise<Column[]>,
): AsyncGenerator<Uint8Array> {
  let columns: Column[] | undefined;
  /** The incomplete last line. */
  let held: Buffer[] = [];
  try {
    for await (const chunk of chunks) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      const end = bytes.lastIndexOf(lineBreak) + 1;
      if (end === 0) {
        held.push(Buffer.from(bytes));
        continue;
      }
      const whole = held.length === 0 ? bytes.subarray(0, end) : Buffer.concat([...held, bytes.subarray(0, end)]);
      held = end < bytes.length ? [Buffer.from(bytes.subarray(end))] : [];
      if (!candidateEnds.some((text) => whole.includes(text))) {
        yield whole;
        continue;
      }
      columns ??= await findColumns();
      const known = columns;
      const lines = whole.toString().trimEnd().split('\n');
      yield Buffer.from(lines.map((line: string) => `${namedRows(line, known)}\n`).join(''));
    }
    if (held.length > 0) yield Buffer.concat(held);
  } finally {
    await chunks.return(undefined);
  }
}

const lineBreak = 0x0a;

function namedValue(reader: JsonReader, type: ClickHouseType): string {
  const begin = reader.peek();
  // Any value may be null.
  if (type.kind === 'other' || type.kind === 'number' || (begin !== '[' && begin !== '{')) {
    const { text } = reader.value();
    return type.kind === 'number' ? (names[text] ?? text) : text;
  }
  const close = begin === '[' ? ']' : '}';
  const items: string[] = [];
  reader.expect(begin);
  if (!reader.take(close)) {
    do {
      let name = '';
      if (begin === '{') {
        name = `${reader.value().text}:`;
        reader.expect(':');
      }
      items.push(name + namedValue(reader, type.kind === 'list' ? type.item : (type.items[items.length] ?? other)));
    } while (reader.take(','));
    reader.expect(close);
  }
  return `${begin}${items.join(',')}${close}`;
}

const other: ClickHouseType = { kind: 'other' };
