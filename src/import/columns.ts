import { quoteName, quoteString } from '../names.ts';
import { type DecimalType, decimalSize, isDecimal } from '../schema/decimal.ts';
import type { TimePrecision } from '../schema/timestamp.ts';
import type { FieldType } from '../schema/types.ts';
import { vectorLength } from '../schema/types.ts';

/** A column of an object, with the type that ClickHouse sees in it. */
export type SourceColumn = { name: string; type: string };

/** How a column is read as a field: the value in SQL, and whether it is there and cannot be one. */
export type Reading = { value: string; isWrong: string };

/** Without what says only how values are kept, or that they may be absent. */
function plain(type: string): string {
  const inner = /^(?:LowCardinality|Nullable)\((.*)\)$/s.exec(type);
  return inner?.[1] === undefined ? type : plain(inner[1]);
}

const isWhole = (type: string) => /^U?Int(8|16|32|64|128|256)$/.test(type);
const isNumber = (type: string) => isWhole(type) || /^(Float|Decimal|BFloat)/.test(type);
const isTime = (type: string) => /^Date(Time)?(32|64)?(\(|$)/.test(type);
const isTextMap = (type: string) => /^Map\((LowCardinality\()?String\)?, (Nullable\()?String\)?\)$/.test(type);
const isText = (type: string) => /^(String|FixedString|Enum|UUID|IPv)/.test(type);

/** The field type for a column that no schema names. */
export function inferredType({ type }: SourceColumn): FieldType {
  const of = plain(type);
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

/**
 * Reads text. A value is absent where the text is null.
 *
 * @param x the text in SQL
 */
function readText(x: string, type: FieldType, precision: TimePrecision): Reading {
  if (isDecimal(type)) return decimalOfText(x, type);
  const nullable = (value: string, alsoWrong = '0'): Reading => {
    return { value, isWrong: `isNotNull(${x}) AND (isNull(${value}) OR ${alsoWrong})` };
  };
  switch (type) {
    case 'timestamp':
      return inTime(x, timeOfText(x), precision);
    case 'string':
      return { value: x, isWrong: `NOT isValidUTF8(ifNull(${x}, ''))` };
    case 'json':
      return { value: x, isWrong: `isNotNull(${x}) AND NOT isValidJSON(ifNull(${x}, ''))` };
    case 'boolean':
      return nullable(`CAST(multiIf(${x} = 'true', 1, ${x} = 'false', 0, NULL), 'Nullable(Bool)')`);
    case 'double': {
      const isName = `match(${x}, '^(?i:[+-]?(inf|infinity|nan))$')`;
      const value = `multiIf(match(${x}, ${number}), toFloat64OrNull(${x}), ${isName}, toFloat64OrNull(trim(LEADING '+' FROM ${x})), NULL)`;
      // Digits that a double is written with are exact, whatever follows them.
      const isInexact = `(match(${x}, '^-?[0-9]{16,}$') AND toString(${value}) != ${x} AND
        isNull(accurateCastOrNull(accurateCastOrNull(${x}, 'Int256'), 'Float64')))`;
      const isLost = `(${value} = 0 AND match(${x}, '^[^eE]*[1-9]'))`;
      return nullable(value, `(NOT ${isName} AND isInfinite(${value})) OR ${isLost} OR ${isInexact}`);
    }
    case 'integer':
    case 'unsigned': {
      const to = type === 'integer' ? 'Int64' : 'UInt64';
      const float = `toFloat64OrNull(${x})`;
      return nullable(`multiIf(match(${x}, ${integer}), accurateCastOrNull(${x}, '${to}'),
        match(${x}, ${number}) AND abs(${float}) <= 9007199254740991, accurateCastOrNull(${float}, '${to}'), NULL)`);
    }
    case 'map': {
      const text = `ifNull(${x}, '{}')`;
      const entries = `JSONExtractKeysAndValuesRaw(${text})`;
      const isMap = `isValidJSON(${text}) AND JSONType(${text}) = 'Object' AND
        arrayAll(entry -> JSONType(entry.2) = 'String', ${entries}) AND arrayUniq(${entries}.1) = length(${entries})`;
      return { value: `JSONExtract(${text}, '${mapType}')`, isWrong: `NOT (${isMap})` };
    }
    default: {
      const text = `ifNull(${x}, '[]')`;
      const kind = type === 'string[]' ? `= 'String'` : `IN ('Int64', 'UInt64', 'Double')`;
      const isList = `isValidJSON(${text}) AND JSONType(${text}) = 'Array' AND
        arrayAll(item -> toString(JSONType(item)) ${kind}, JSONExtractArrayRaw(${text}))`;
      if (type === 'string[]') {
        return { value: `JSONExtract(${text}, 'Array(String)')`, isWrong: `NOT (${isList})` };
      }
      // Each by itself: taken out of JSON as a whole, some are rounded twice.
      const value = `arrayMap(item -> toFloat32OrZero(item), JSONExtractArrayRaw(${text}))`;
      return { value, isWrong: `NOT (${isList}) OR ${isNoVector(value, `isNotNull(${x})`, type)}` };
    }
  }
}

const mapType = 'Map(LowCardinality(String), String)';

/** Compared as text: a cast cuts digits off, and leaves the precision to whoever asks. */
function decimalOfText(x: string, type: DecimalType): Reading {
  const { precision, scale } = decimalSize(type);
  const plain = `if(match(${x}, '[.]'), replaceRegexpOne(${x}, '[.]?0*$', ''), ${x})`;
  const canonical = `if(${plain} = '-0', '0', ${plain})`;
  const value = `if(match(${x}, ${decimalLiteral}), accurateCastOrNull(${x}, 'Decimal(${precision}, ${scale})'), NULL)`;
  const isOver = `length(extract(${canonical}, '^-?(?:0|([0-9]+))')) > ${precision - scale}`;
  return {
    value,
    isWrong: `isNotNull(${x}) AND (isNull(${value}) OR toString(${value}) != ${canonical} OR ${isOver})`,
  };
}

const decimalLiteral = quoteString('^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$');

const number = quoteString('^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?$');
const integer = quoteString('^-?(0|[1-9][0-9]*)$');
const day = '[0-9]{4}-[0-9]{2}-[0-9]{2}';
const clock = '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?';
const zone = '([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])';
const timeForm = quoteString(`^${day}([Tt]${clock}${zone}|[ ]${clock}${zone}?)$`);

function timeOfText(x: string): string {
  return `multiIf(match(${x}, '^(0|[1-9][0-9]{0,12})$'), fromUnixTimestamp64Milli(toInt64OrZero(${x}), 'UTC'),
    match(${x}, ${timeForm}), parseDateTime64BestEffortOrNull(upper(${x}), 9, 'UTC'), NULL)`;
}

const earliest = "toDateTime64('1970-01-01 00:00:00', 3, 'UTC')";
const tooLate = "toDateTime64('2106-01-01 00:00:00', 3, 'UTC')";

/** Within the years that a timestamp can have, and no finer than the table keeps them. */
function inTime(x: string, time: string, precision: TimePrecision): Reading {
  // Looked at as it is: what is far outside does not fit into more digits.
  const isInside = `${time} >= ${earliest} AND ${time} < ${tooLate}`;
  const value = `if(${isInside}, toDateTime64(${time}, ${precision}, 'UTC'), NULL)`;
  return { value, isWrong: `isNotNull(${x}) AND ifNull(${value} != ${time}, 1)` };
}

function isNoVector(value: string, isThere: string, type: `vector(${number})`): string {
  return `(${isThere} AND length(${value}) NOT IN (0, ${vectorLength(type)})) OR NOT arrayAll(item -> isFinite(item), ${value})`;
}

const isNumeric = (type: FieldType) => ['double', 'integer', 'unsigned'].includes(type) || isDecimal(type);

/** Reads a column that has a type of its own, as in Parquet; undefined where no value of it can be the field's. */
export function readTyped(
  { name, type: source }: SourceColumn,
  type: FieldType,
  precision: TimePrecision,
): Reading | undefined {
  const x = quoteName(name);
  const of = plain(source);
  if (of === 'String' && type !== 'json') return readText(x, type, precision);
  // The digits are what is meant; each type takes what it holds of them.
  if (of.startsWith('Decimal') && isNumeric(type)) return readText(`toString(${x})`, type, precision);
  if (isDecimal(type)) return isWhole(of) ? readText(`toString(${x})`, type, precision) : undefined;
  const nullable = (value: string, alsoWrong = '0'): Reading => {
    return { value, isWrong: `isNotNull(${x}) AND (isNull(${value}) OR ${alsoWrong})` };
  };
  switch (type) {
    case 'timestamp': {
      if (isTime(of)) return inTime(x, of.startsWith('DateTime64') ? x : `toDateTime64(${x}, 3, 'UTC')`, precision);
      // Whatever is outside of the years is outside of what the function takes as well.
      const inRange = `if(${x} >= 0 AND ${x} < 4291747200000, toInt64(${x}), NULL)`;
      return isWhole(of) ? inTime(x, `fromUnixTimestamp64Milli(${inRange}, 'UTC')`, precision) : undefined;
    }
    case 'string':
      return isText(of)
        ? { value: `toString(${x})`, isWrong: `NOT isValidUTF8(ifNull(toString(${x}), ''))` }
        : undefined;
    case 'json': {
      if (of === 'String') return readText(x, type, precision);
      return { value: `toJSONString(${x})`, isWrong: '0' };
    }
    case 'boolean':
      if (of === 'Bool') return { value: x, isWrong: '0' };
      return isWhole(of) ? nullable(`CAST(multiIf(${x} = 1, 1, ${x} = 0, 0, NULL), 'Nullable(Bool)')`) : undefined;
    case 'double':
      if (isWhole(of)) return nullable(`accurateCastOrNull(${x}, 'Float64')`);
      return isNumber(of) ? nullable(`toFloat64(${x})`) : undefined;
    case 'integer':
    case 'unsigned':
      return isNumber(of)
        ? nullable(`accurateCastOrNull(${x}, '${type === 'integer' ? 'Int64' : 'UInt64'}')`)
        : undefined;
    case 'map': {
      if (!isTextMap(of)) return undefined;
      const [keys, texts] = [`mapKeys(${x})`, `mapValues(${x})`];
      const isNoText = `arrayExists(item -> isNull(item) OR NOT isValidUTF8(item), arrayConcat(${texts}, ${keys}))`;
      const value = `CAST(mapFromArrays(${keys}, arrayMap(item -> ifNull(item, ''), ${texts})), '${mapType}')`;
      return { value, isWrong: `${isNoText} OR arrayUniq(${keys}) != length(${keys})` };
    }
    default: {
      const item = /^Array\((.*)\)$/s.exec(of)?.[1];
      if (item === undefined) return undefined;
      const hasNull = `arrayExists(item -> isNull(item), ${x})`;
      if (type === 'string[]') {
        if (!isText(plain(item))) return undefined;
        const value = `arrayMap(item -> ifNull(toString(item), ''), ${x})`;
        return { value, isWrong: `${hasNull} OR arrayExists(item -> NOT isValidUTF8(item), ${value})` };
      }
      if (!isNumber(plain(item))) return undefined;
      const value = `arrayMap(item -> ifNull(toFloat32(item), 0), ${x})`;
      return { value, isWrong: `${hasNull} OR ${isNoVector(value, `notEmpty(${x})`, type)}` };
    }
  }
}
