import { quoteString } from '../../core/identifiers.ts';
import { isUnread, type ParquetNode } from './parquet-footer.ts';
import { type SourceType, unwrapType } from './source-type.ts';

/**
 * SQL for a value as JSON text, as `timestore ingest` sends it: the text, whether JSON cannot represent the value, and
 * whether the object does not distinguish null from empty.
 */
export type JsonReading = { text: string; isWrong: string; isUnclear: string };

const sure = { isWrong: '0', isUnclear: '0' };

/**
 * @param x the value in SQL
 * @param node description of the value in the object's footer, if known
 */
export function jsonSql(x: string, type: SourceType, node: ParquetNode | undefined, depth = 0): JsonReading {
  if (isUnread(node?.meaning)) return { text: `'null'`, isWrong: '1', isUnclear: '0' };
  const [inner] = type.args;
  if (type.name === 'LowCardinality' && inner !== undefined) return jsonSql(x, inner, node, depth);
  if (type.name === 'Nullable' && inner !== undefined) {
    const present = jsonSql(`assumeNotNull(${x})`, inner, node, depth);
    const ifNotNull = (condition: string) => (condition === '0' ? '0' : `isNotNull(${x}) AND (${condition})`);
    return {
      text: `if(isNull(${x}), 'null', ${present.text})`,
      isWrong: ifNotNull(present.isWrong),
      isUnclear: ifNotNull(present.isUnclear),
    };
  }
  switch (type.name) {
    case 'Array':
      return orNull(x, type, node, listSql(x, inner, node, depth));
    case 'Map':
      return orNull(x, type, node, mapSql(x, type, node, depth));
    case 'Tuple':
      return orNull(x, type, node, tupleSql(x, type, node, depth));
    default:
      return leafSql(x, type, node);
  }
}

/** Adds `null` where the footer shows that empty values are null. */
function orNull(x: string, type: SourceType, node: ParquetNode | undefined, reading: JsonReading): JsonReading {
  if (node === undefined || node.nulls === 'never' || (node.isRepeated && type.name === 'Array')) return reading;
  const isEmpty = looksEmpty(x, type);
  if (node.nulls === 'unclear') return { ...reading, isUnclear: `${isEmpty} OR ${reading.isUnclear}` };
  return { ...reading, text: `if(${isEmpty}, 'null', ${reading.text})` };
}

/** Whether a value is empty as ClickHouse reads null. */
function looksEmpty(x: string, type: SourceType): string {
  if (type.name === 'Array' || type.name === 'Map') return `empty(${x})`;
  if (type.name !== 'Tuple') return `isNull(${x})`;
  return `(${type.args.map((arg, i) => looksEmpty(`tupleElement(${x}, ${i + 1})`, arg)).join(' AND ')})`;
}

function listSql(x: string, item: SourceType | undefined, node: ParquetNode | undefined, depth: number): JsonReading {
  if (item === undefined) return { text: `toJSONString(${x})`, ...sure };
  const name = `_item${depth}`;
  const of = jsonSql(name, item, itemNode(node, item), depth + 1);
  const some = (condition: string) => (condition === '0' ? '0' : `arrayExists(${name} -> ${condition}, ${x})`);
  return {
    text: `concat('[', arrayStringConcat(arrayMap(${name} -> ${of.text}, ${x}), ','), ']')`,
    isWrong: some(of.isWrong),
    isUnclear: some(of.isUnclear),
  };
}

/** The footer node of a list's items: a Parquet list may have an intermediate level. */
function itemNode(list: ParquetNode | undefined, item: SourceType): ParquetNode | undefined {
  if (list === undefined) return undefined;
  const [repeated] = list.children;
  // A repeated field without a list around it.
  if (list.isRepeated && repeated?.isRepeated !== true) return { ...list, isRepeated: false, nulls: 'never' };
  if (repeated === undefined) return undefined;
  const isStep = repeated.children.length === 1 && unwrapType(item).names[0] !== repeated.children[0]?.name;
  return isStep ? repeated.children[0] : { ...repeated, isRepeated: false, nulls: 'never' };
}

function mapSql(x: string, type: SourceType, node: ParquetNode | undefined, depth: number): JsonReading {
  const [keyType, valueType] = type.args;
  if (keyType === undefined || valueType === undefined) return { text: `toJSONString(${x})`, ...sure };
  const [keyNode, valueNode] = node?.children[0]?.children ?? [];
  const [key, value] = [`_key${depth}`, `_value${depth}`];
  const keys = jsonSql(key, keyType, keyNode, depth + 1);
  const values = jsonSql(value, valueType, valueNode, depth + 1);
  const keyText = `if(startsWith(${keys.text}, '"'), ${keys.text}, concat('"', ${keys.text}, '"'))`;
  const lists = `mapKeys(${x}), mapValues(${x})`;
  const some = (conditions: string[]) => {
    const real = conditions.filter((each) => each !== '0');
    return real.length === 0 ? '0' : `arrayExists((${key}, ${value}) -> ${real.join(' OR ')}, ${lists})`;
  };
  return {
    text: `concat('{', arrayStringConcat(arrayMap((${key}, ${value}) -> concat(${keyText}, ':', ${values.text}), ${lists}), ','), '}')`,
    isWrong: `arrayUniq(mapKeys(${x})) != length(mapKeys(${x})) OR ${some([keys.isWrong, values.isWrong])}`,
    isUnclear: some([keys.isUnclear, values.isUnclear]),
  };
}

function tupleSql(x: string, type: SourceType, node: ParquetNode | undefined, depth: number): JsonReading {
  const members = type.args.map((arg, i) => {
    const name = type.names[i] ?? String(i + 1);
    const inside = node?.children.find((child) => child.name === name);
    return { name, of: jsonSql(`tupleElement(${x}, ${i + 1})`, arg, inside, depth + 1) };
  });
  const any = (conditions: string[]) => conditions.filter((each) => each !== '0').join(' OR ') || '0';
  const texts = members.map(({ name, of }, i) => {
    return `${quoteString(`${i === 0 ? '' : ','}${JSON.stringify(name)}:`)}, ${of.text}`;
  });
  return {
    text: `concat('{', ${texts.join(', ')}, '}')`,
    isWrong: any(members.map(({ of }) => of.isWrong)),
    isUnclear: any(members.map(({ of }) => of.isUnclear)),
  };
}

function leafSql(x: string, type: SourceType, node: ParquetNode | undefined): JsonReading {
  const { name } = type;
  if (node?.meaning === 'date' && isWhole(name)) {
    const { text, isWrong } = dateText(x);
    return { text: `concat('"', ${text}, '"')`, isWrong, isUnclear: '0' };
  }
  if (node?.meaning === 'time') return { text: `concat('"', ${clockText(x)}, '"')`, ...sure };
  if (node?.meaning === 'json') return { text: x, isWrong: `NOT isValidJSON(${x})`, isUnclear: '0' };
  if (name === 'Bool') return { text: `if(${x}, 'true', 'false')`, ...sure };
  if (isWhole(name) || name === 'Decimal') return { text: `toString(${x})`, ...sure };
  if (name.startsWith('Float') || name === 'BFloat16') return doubleSql(`toFloat64(${x})`);
  if (/^Date/.test(name)) {
    const { text, isWrong } = name.startsWith('DateTime')
      ? momentText(x, type)
      : { text: `toString(${x})`, isWrong: '0' };
    return { text: `concat('"', ${text}, '"')`, isWrong, isUnclear: '0' };
  }
  if (/^(String|FixedString|Enum|UUID|IPv)/.test(name)) {
    const text = `toString(${x})`;
    return { text: `toJSONString(${text})`, isWrong: `NOT isValidUTF8(${text})`, isUnclear: '0' };
  }
  return { text: `toJSONString(${x})`, ...sure };
}

const isWhole = (name: string) => /^U?Int(8|16|32|64|128|256)$/.test(name);

/** A double as JavaScript writes it, and integers beyond 2^53 with all their digits. */
function doubleSql(x: string): JsonReading {
  const isLong = `abs(${x}) > 9007199254740991 AND abs(${x}) < 1e21`;
  const short = `replaceRegexpOne(toString(${x}), 'e([0-9])', 'e+\\\\1')`;
  // In two steps, because a cast of more than 64 bits is not exact.
  const long = `if(${isLong}, ${x}, 0)`;
  const high = `trunc(${long} / 4294967296)`;
  const whole = `toInt128(toInt64(${high})) * 4294967296 + toInt64(${long} - ${high} * 4294967296)`;
  return {
    text: `if(${isLong}, concat(toString(${whole}), '.0'), ${short})`,
    isWrong: `NOT isFinite(${x})`,
    isUnclear: '0',
  };
}

/** Text of a day that is stored as the number of days since 1970. */
export function dateText(x: string): { text: string; isWrong: string } {
  const text = `substring(toString(fromUnixTimestamp64Second(toInt64(${x}) * 86400, 'UTC')), 1, 10)`;
  return { text, isWrong: `${x} < -719162 OR ${x} > 2932896` };
}

/** Text of a time of day, which ClickHouse reads as a time of 1970-01-01, with the digits of its type. */
export function clockText(x: string): string {
  return `substring(toString(${x}), 12)`;
}

/** Text of a time as in answers, with as many digits as necessary. */
export function momentText(x: string, { text: type }: SourceType): { text: string; isWrong: string } {
  const digits = Number(/^DateTime64\(([0-9])/.exec(type)?.[1] ?? 0);
  const time = `toString(toDateTime64(${x}, ${Math.max(digits, 3)}, 'UTC'))`;
  const finer = `substring(${time}, 24)`;
  const text = `concat(substring(${time}, 1, 10), 'T', substring(${time}, 12, 12), if(match(${finer}, '[1-9]'), ${finer}, ''), 'Z')`;
  if (digits === 0) return { text, isWrong: '0' };
  const units = `reinterpretAsInt64(${x})`;
  const second = 10 ** digits;
  // From 0001-01-01 to 9999-12-31: ClickHouse prints later and earlier times as one of these.
  return { text, isWrong: `intDiv(${units}, ${second}) < -62135596799 OR intDiv(${units}, ${second}) >= 253402300800` };
}
