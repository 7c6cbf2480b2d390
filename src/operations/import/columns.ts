import { quoteName, quoteString } from '../../core/identifiers.ts';
import { type DecimalType, decimalSize, isDecimal } from '../../schema/decimal.ts';
import type { TimePrecision } from '../../schema/timestamp.ts';
import type { FieldType } from '../../schema/types.ts';
import { vectorLength } from '../../schema/types.ts';
import { clockText, dateText, jsonSql, momentText } from './json-sql.ts';
import { isUnread, type ParquetNode } from './parquet-footer.ts';
import { readType, unwrapType } from './source-type.ts';
import { type Reading, timeOfDay, timeOfNumber, timeOfText, timeOfTime } from './time-sql.ts';

export type { Reading } from './time-sql.ts';

/** A column of a Parquet object: its type in ClickHouse, and its description in the object's footer. */
export type SourceColumn = {
  name: string;
  /** Its name in the object. */
  original: string;
  type: string;
  node?: ParquetNode | undefined;
  /** SQL condition for null, for a list, map or structure: ClickHouse reads null as empty. */
  isNull?: string | undefined;
};

export const isWhole = (type: string) => /^U?Int(8|16|32|64|128|256)$/.test(type);
export const isNumber = (type: string) => isWhole(type) || /^(Float|Decimal|BFloat)/.test(type);
export const isTime = (type: string) => /^Date(Time)?(32|64)?(\(|$)/.test(type);
const isTextMap = (type: string) => /^Map\((LowCardinality\()?String\)?, (Nullable\()?String\)?\)$/.test(type);
export const isText = (type: string) => /^(String|FixedString|Enum|UUID|IPv)/.test(type);

/** The type without Nullable and LowCardinality. */
export const plain = (type: string) => unwrapType(readType(type)).text;

/** The type of a new field for a column. */
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

/** SQL that converts a column to a field's type; undefined if no value of the column fits the field. */
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
      if (isTime(of))
        return { value: momentText(x, unwrapType(readType(source))).text, isWrong: wrongWhere(x, source) };
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

const ifPresent = (x: string, value: string, alsoWrong = '0'): Reading => {
  return { value, isWrong: `isNotNull(${x}) AND (isNull(${value}) OR ${alsoWrong})` };
};

const wrongWhere = (x: string, source: string) =>
  `isNotNull(${x}) AND (${momentText(`assumeNotNull(${x})`, unwrapType(readType(source))).isWrong})`;

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
  const andNotNull = (condition: string) => (isNull === undefined ? condition : `NOT ${isNull} AND (${condition})`);
  return {
    value: `if(${orNull}${text} = 'null', NULL, ${text})`,
    isWrong: andNotNull(`${isWrong} OR ${isUnclear}`),
    ...(isUnclear !== '0' && { isUnclear: andNotNull(isUnclear) }),
  };
}

const textAsJson = (x: string): Reading => {
  return { value: x, isWrong: `isNotNull(${x}) AND NOT isValidJSON(ifNull(${x}, ''))` };
};

/** Reads a day that is stored as the number of days since 1970. */
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

/** Reads text as a request reads a JSON string: some types accept it. */
function readText(x: string, type: FieldType, precision: TimePrecision): Reading {
  if (isDecimal(type)) return decimalOfText(x, type);
  switch (type) {
    case 'timestamp':
      return timeOfText(x, precision);
    case 'string':
      return { value: x, isWrong: `NOT isValidUTF8(ifNull(${x}, ''))` };
    case 'double':
      return ifPresent(x, `if(${x} IN ('NaN', 'Infinity', '-Infinity'), toFloat64OrNull(${x}), NULL)`);
    case 'integer':
    case 'unsigned':
      return ifPresent(x, `if(match(${x}, ${integer}), accurateCastOrNull(${x}, '${wholeTypes[type]}'), NULL)`);
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
  if (type === 'double') return ifPresent(x, isWhole(of) ? `accurateCastOrNull(${x}, 'Float64')` : `toFloat64(${x})`);
  if (type === 'integer' || type === 'unsigned') return ifPresent(x, `accurateCastOrNull(${x}, '${wholeTypes[type]}')`);
  return undefined;
}

/** Reads the digits of a decimal. Digits that the type cannot hold make the value invalid. */
function readDigits(x: string, type: FieldType): Reading | undefined {
  if (isDecimal(type)) return decimalOfText(x, type);
  if (type === 'integer' || type === 'unsigned') {
    return ifPresent(x, `if(match(${x}, ${integer}), accurateCastOrNull(${x}, '${wholeTypes[type]}'), NULL)`);
  }
  if (type !== 'double') return undefined;
  const value = `toFloat64OrNull(${x})`;
  // Digits as a program writes them for a double count as exact.
  const isInexact = `(match(${x}, '^-?[0-9]{16,}') AND toString(${value}) != ${x} AND
    isNull(accurateCastOrNull(accurateCastOrNull(${x}, 'Int256'), 'Float64')))`;
  return ifPresent(x, value, isInexact);
}

/** The result is compared as text, because a cast drops digits and does not check the precision. */
function decimalOfText(x: string, type: DecimalType): Reading {
  const { precision, scale } = decimalSize(type);
  const short = `if(match(${x}, '[.]'), replaceRegexpOne(${x}, '[.]?0*$', ''), ${x})`;
  const canonical = `if(${short} = '-0', '0', ${short})`;
  const value = `if(match(${x}, ${decimalLiteral}), accurateCastOrNull(${x}, 'Decimal(${precision}, ${scale})'), NULL)`;
  const isOver = `length(extract(${canonical}, '^-?(?:0|([0-9]+))')) > ${precision - scale}`;
  return ifPresent(x, value, `toString(${value}) != ${canonical} OR ${isOver}`);
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
