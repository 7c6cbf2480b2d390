/** The part of a ClickHouse type that locates floating point numbers in the JSON of a value. */
export type ClickHouseType =
  | { kind: 'number' }
  | { kind: 'other' }
  /** A list or a map. */
  | { kind: 'list'; item: ClickHouseType }
  | { kind: 'tuple'; items: ClickHouseType[] };

const other: ClickHouseType = { kind: 'other' };
const number: ClickHouseType = { kind: 'number' };
const point: ClickHouseType = { kind: 'tuple', items: [number, number] };
const list = (item: ClickHouseType): ClickHouseType => (item.kind === 'other' ? other : { kind: 'list', item });

const named: Record<string, ClickHouseType> = {
  Float32: number,
  Float64: number,
  BFloat16: number,
  Point: point,
  Ring: list(point),
  LineString: list(point),
  MultiLineString: list(list(point)),
  Polygon: list(list(point)),
  MultiPolygon: list(list(list(point))),
};

/** Parses a type. Types without a floating point number at a known place are `other`. */
export function readType(text: string): ClickHouseType {
  const [, name = '', inner] = /^(\w+)(?:\((.*)\))?$/s.exec(text.trim()) ?? [];
  if (inner === undefined) return named[name] ?? other;
  const args = splitArguments(inner);
  const last = args.at(-1) ?? '';
  switch (name) {
    case 'Nullable':
    case 'LowCardinality':
    case 'SimpleAggregateFunction':
      return readType(last);
    case 'Array':
    case 'Map':
      return list(readType(last));
    case 'Tuple':
      return tuple(args);
    case 'Nested':
      return list(tuple(args));
    default:
      return other;
  }
}

function tuple(args: string[]): ClickHouseType {
  const items = args.map((each) => readType(each.replace(/^(?:`(?:[^`\\]|\\.)*`|\w+)\s+/s, '')));
  return items.every(({ kind }) => kind === 'other') ? other : { kind: 'tuple', items };
}

/** Splits at commas outside of parentheses and quotes. */
function splitArguments(text: string): string[] {
  const args: string[] = [];
  let [start, depth] = [0, 0];
  const token = /`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|[(),]/gs;
  for (const { 0: found, index } of text.matchAll(token)) {
    if (found === '(') depth += 1;
    else if (found === ')') depth -= 1;
    else if (found === ',' && depth === 0) {
      args.push(text.slice(start, index).trim());
      start = index + 1;
    }
  }
  return [...args, text.slice(start).trim()];
}
