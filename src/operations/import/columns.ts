import { quoteName, quoteString } from '../../core/identifiers.ts';
import { type DecimalType, decimalSize, isDecimal } from '../../schema/decimal.ts';
import type { TimePrecision } from '../../schema/timestamp.ts';
import type { FieldType } from '../../schema/types.ts';
import { vectorLength } from '../../schema/types.ts';
import { clockText, dateText, jsonSql, momentText } from './json-sql.ts';
import { isUnread, type ParquetNode } from './parquet-footer.ts';
import { plainOf, readType } from './source-type.ts';
import { type Reading, timeOfDay, timeOfNumber, timeOfText, timeOfTime } from './time-sql.ts';

export type { Reading } from './time-sql.ts';

/** A column of a Parquet object: the type that ClickHouse sees in it, and what the object itself says of it. */
export type SourceColumn = {
  name: string;
  /** Its name in the object. */
  original: string;
  type: string;
  node?: ParquetNode | undefined;
  /** Of a list, map or structure that ClickHouse shows as empty: where it is null, in SQL. */
  isNull?: string | undefined;
};

export const isWhole = (type: string) => /^U?Int(8|16|32|64|128|256)$/.test(type);
export const isNumber = (type: string) => isWhole(type) || /^(Float|Decimal|BFloat)/.test(type);
export const isTime = (type: string) => /^Date(Time)?(32|64)?(\(|$)/.test(type);
const isTextMap = (type: string) => /^Map\((LowCardinality\()?String\)?, (Nullable\()?String\)?\)$/.test(type);
export const isText = (type: string) => /^(String|FixedString|Enum|UUID|IPv)/.test(type);

/** Without what says only how values are kept, or that they may be absent. */
export const plain = (type: string) => plainOf(readType(type)).text;

/** The field type for a column that no schema names. */
export function inferredType({ type, node }: SourceColumn): FieldType {
  const of = plain(type);
  if (node?.meaning === 'time') return 'string';
  if (node?.meaning === 'json') return 'json';
  if (node?.meaning === 'date' && isWhole(of)) return 'timestamp';
  if (of === 'Bool') return 'boolean';
  if (isTime(of)) return 'timestamp';
  if (of === 'UInt64') return 'unsigned';
  if (isWhole(of)) return 'integer';
  const decimal = /^Decimal\(([0-9]+), ([0-9]+)\)$/.exec(of);
  if (decimal !== null) return `decimal(${Number(decimal[1])},${Number(decimal[2])})`;
  if (isNumber(of)) return 'double';
  if (isText(of)) return 'string';
  if (isTextMap(of)) return 'map';
  const items = /^Array\((.*)\)$/s.exec(of);
  return items?.[1] !== undefined && isText(plain(items[1])) ? 'string[]' : 'json';
}

/** Reads a column; undefined where no value of it can be the field's. */
export function readTyped(column: SourceColumn, type: FieldType, precision: TimePrecision): Reading | undefined {
  const { name, type: source, node, isNull } = column;
  const x = quoteName(name);
  const of = plain(source);
  if (isUnread(node?.meaning)) return undefined;
  if (node?.meaning === 'time') return type === 'string' ? always(clockText(x)) : asJson(x, source, node, type);
  if (node?.meaning === 'date' && isWhole(of)) return readDate(x, source, node, type, precision);
  if (of === 'String' && type !== 'json') return readText(x, type, precision);
  if (type === 'json') return of === 'String' ? textAsJson(x) : asJson(x, source, node, type, isNull);
  if (type === 'timestamp') return readTime(x, of, precision);
  if (isNumber(of)) return readNumber(x, of, type);
  switch (type) {
    case 'string':
      if (isTime(of)) return { value: momentText(x, plainOf(readType(source))).text, isWrong: wrongWhere(x, source) };
      return isText(of)
        ? { value: `toString(${x})`, isWrong: `NOT isValidUTF8(ifNull(toString(${x}), ''))` }
        : undefined;
    case 'boolean':
      return of === 'Bool' ? always(x) : undefined;
    case 'map':
      return isTextMap(of) ? readMap(x) : undefined;
    default: {
      const item = /^Array\((.*)\)$/s.exec(of)?.[1];
      return item === undefined ? undefined : readList(x, plain(item), type);
    }
  }
}

const always = (value: string): Reading => ({ value, isWrong: '0' });

const ifThere = (x: string, value: string, alsoWrong = '0'): Reading => {
  return { value, isWrong: `isNotNull(${x}) AND (isNull(${value}) OR ${alsoWrong})` };
};

const wrongWhere = (x: string, source: string) =>
  `isNotNull(${x}) AND (${momentText(`assumeNotNull(${x})`, plainOf(readType(source))).isWrong})`;

function asJson(
  x: string,
  source: string,
  node: ParquetNode | undefined,
  type: FieldType,
  isNull?: string,
): Reading | undefined {
  if (type !== 'json') return undefined;
  const { text, isWrong, isUnclear } = jsonSql(x, readType(source), node);
  const orNull = isNull === undefined ? '' : `${isNull} OR `;
  const andThere = (condition: string) => (isNull === undefined ? condition : `NOT ${isNull} AND (${condition})`);
  return {
    value: `if(${orNull}${text} = 'null', NULL, ${text})`,
    isWrong: andThere(`${isWrong} OR ${isUnclear}`),
    ...(isUnclear !== '0' && { isUnclear: andThere(isUnclear) }),
  };
}

const textAsJson = (x: string): Reading => {
  return { value: x, isWrong: `isNotNull(${x}) AND NOT isValidJSON(ifNull(${x}, ''))` };
};

/** A day that is kept as its number since 1970. */
function readDate(
  x: string,
  source: string,
  node: ParquetNode,
  type: FieldType,
  precision: TimePrecision,
): Reading | undefined {
  if (type === 'timestamp') return timeOfDay(x, precision);
  if (type !== 'string') return asJson(x, source, node, type);
  const { text, isWrong } = dateText(x);
  return { value: text, isWrong: `isNotNull(${x}) AND (${isWrong})` };
}

function readTime(x: string, of: string, precision: TimePrecision): Reading | undefined {
  const digits = /^DateTime64\(([0-9])/.exec(of)?.[1];
  if (digits !== undefined) return timeOfTime(x, precision, Number(digits));
  if (isTime(of)) return timeOfTime(`toDateTime64(${x}, 3, 'UTC')`, precision, 0);
  return isNumber(of) ? timeOfNumber(x, precision) : undefined;
}

/** Text is what a string of JSON is to a request: some types take it. */
function readText(x: string, type: FieldType, precision: TimePrecision): Reading {
  if (isDecimal(type)) return decimalOfText(x, type);
  switch (type) {
    case 'timestamp':
      return timeOfText(x, precision);
    case 'string':
      return { value: x, isWrong: `NOT isValidUTF8(ifNull(${x}, ''))` };
    case 'double':
      return ifThere(x, `if(${x} IN ('NaN', 'Infinity', '-Infinity'), toFloat64OrNull(${x}), NULL)`);
    case 'integer':
    case 'unsigned':
      return ifThere(x, `if(match(${x}, ${integer}), accurateCastOrNull(${x}, '${wholeTypes[type]}'), NULL)`);
    case 'boolean':
      return { value: `CAST(NULL, 'Nullable(Bool)')`, isWrong: `isNotNull(${x})` };
    case 'map':
      return { value: `CAST(map(), '${mapType}')`, isWrong: `isNotNull(${x})` };
    default: {
      const list = type === 'string[]' ? 'Array(String)' : 'Array(Float32)';
      return { value: `CAST([], '${list}')`, isWrong: `isNotNull(${x})` };
    }
  }
}

const wholeTypes = { integer: 'Int64', unsigned: 'UInt64' };
const mapType = 'Map(LowCardinality(String), String)';

function readNumber(x: string, of: string, type: FieldType): Reading | undefined {
  if (of.startsWith('Decimal')) return readDigits(`toString(${x})`, type);
  if (isDecimal(type)) return isWhole(of) ? decimalOfText(`toString(${x})`, type) : undefined;
  if (type === 'double') return ifThere(x, isWhole(of) ? `accurateCastOrNull(${x}, 'Float64')` : `toFloat64(${x})`);
  if (type === 'integer' || type === 'unsigned') return ifThere(x, `accurateCastOrNull(${x}, '${wholeTypes[type]}')`);
  return undefined;
}

/** Reads the digits of a decimal: each type takes what it holds of them. */
function readDigits(x: string, type: FieldType): Reading | undefined {
  if (isDecimal(type)) return decimalOfText(x, type);
  if (type === 'integer' || type === 'unsigned') {
    return ifThere(x, `if(match(${x}, ${integer}), accurateCastOrNull(${x}, '${wholeTypes[type]}'), NULL)`);
  }
  if (type !== 'double') return undefined;
  const value = `toFloat64OrNull(${x})`;
  // Digits that a double is written with are exact, whatever follows them.
  const isInexact = `(match(${x}, '^-?[0-9]{16,}') AND toString(${value}) != ${x} AND
    isNull(accurateCastOrNull(accurateCastOrNull(${x}, 'Int256'), 'Float64')))`;
  return ifThere(x, value, isInexact);
}

/** Compared as text: a cast cuts digits off, and leaves the precision to whoever asks. */
function decimalOfText(x: string, type: DecimalType): Reading {
  const { precision, scale } = decimalSize(type);
  const short = `if(match(${x}, '[.]'), replaceRegexpOne(${x}, '[.]?0*$', ''), ${x})`;
  const canonical = `if(${short} = '-0', '0', ${short})`;
  const value = `if(match(${x}, ${decimalLiteral}), accurateCastOrNull(${x}, 'Decimal(${precision}, ${scale})'), NULL)`;
  const isOver = `length(extract(${canonical}, '^-?(?:0|([0-9]+))')) > ${precision - scale}`;
  return ifThere(x, value, `toString(${value}) != ${canonical} OR ${isOver}`);
}

const decimalLiteral = quoteString('^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$');
const integer = quoteString('^-?(0|[1-9][0-9]*)$');

function readMap(x: string): Reading {
  const [keys, texts] = [`mapKeys(${x})`, `mapValues(${x})`];
  const isNoText = `arrayExists(item -> isNull(item) OR NOT isValidUTF8(item), arrayConcat(${texts}, ${keys}))`;
  const value = `CAST(mapFromArrays(${keys}, arrayMap(item -> ifNull(item, ''), ${texts})), '${mapType}')`;
  return { value, isWrong: `${isNoText} OR arrayUniq(${keys}) != length(${keys})` };
}

function readList(x: string, item: string, type: FieldType): Reading | undefined {
  const hasNull = `arrayExists(item -> isNull(item), ${x})`;
  if (type === 'string[]') {
    if (!isText(item)) return undefined;
    const value = `arrayMap(item -> ifNull(toString(item), ''), ${x})`;
    return { value, isWrong: `${hasNull} OR arrayExists(item -> NOT isValidUTF8(item), ${value})` };
  }
  if (!type.startsWith('vector') || !isNumber(item)) return undefined;
  const value = `arrayMap(item -> ifNull(toFloat32(item), 0), ${x})`;
  const length = vectorLength(type as `vector(${number})`);
  const isNoVector = `length(${value}) NOT IN (0, ${length}) OR NOT arrayAll(item -> isFinite(item), ${value})`;
  return { value, isWrong: `${hasNull} OR ${isNoVector}` };
}
