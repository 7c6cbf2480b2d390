import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import type { Table } from '../../schema/table.ts';
import { timeTextSql } from '../../schema/time-text-sql.ts';
import { clickhouseType, isNeverNull, precisionOf, timeType } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { parameterText } from '../../stores/clickhouse/parameter.ts';
import { filterSql } from '../request/filters.ts';
import type { QueryPlan } from '../request/parse.ts';
import { partitionKeySql } from '../request/partition-key.ts';
import { rangeConditions } from '../request/time-range.ts';
import { hiddenColumn, surplus } from '../response/json.ts';
import type { Statement } from './execute-read.ts';
import { mergedTableSql, type Source } from './merged-table-sql.ts';

/** A part of the order that rows come in. The last parts tell any two rows apart. */
type SortKey = { sql: string; isDescending: boolean; isNullable: boolean; type: string };

const identity: SortKey[] = [
  { sql: '_lane', isDescending: false, isNullable: false, type: 'UInt16' },
  { sql: '_seq', isDescending: false, isNullable: false, type: 'UInt64' },
  { sql: '_row', isDescending: false, isNullable: false, type: 'UInt32' },
];

/**
 * Raw rows in order, from the table and its tail.
 *
 * @param wants `rows` for the answer itself, `text` for it with times as text, `marked` with the member that says where each came from and the key of the
 *   last, `end` for that key alone: nothing if there are no further rows
 */
export function rowsStatement(
  source: Source,
  plan: QueryPlan,
  limits: Limits,
  wants: 'rows' | 'text' | 'marked' | 'end',
): Statement {
  const { table } = source;
  const params: Settings = {};
  const keys = sortKeys(plan, table);
  const where = [...conditions(source, plan, limits, params), ...afterCursor(plan, keys, params)];
  const order = `ORDER BY ${keys.map(({ sql, isDescending }) => `${sql}${isDescending ? ' DESC' : ''}`).join(', ')}`;
  const { limit } = plan;
  // One row more tells whether there are more.
  const isPage = wants === 'rows' || wants === 'text';
  const end = limit === undefined ? order : `${order} LIMIT ${limit + (isPage ? 0 : 1)}`;
  const shown = plan.fields.map(({ name }) => quoteName(name));
  // The order also goes by what is not answered.
  const inner = [...new Set([...(wants === 'end' ? [] : shown), ...keys.map(({ sql }) => sql)])];
  const sideEnd = limit === undefined ? '' : end;
  if (wants === 'rows') {
    return {
      sql: `SELECT ${shown.join(', ')} FROM ${mergedTableSql(source, params, { columns: inner, where, end: sideEnd })} ${end}`,
      params,
    };
  }
  if (wants === 'text') {
    const precision = precisionOf(table.schema);
    const rows = mergedTableSql(source, params, { columns: inner, where, end: sideEnd });
    const texts = plan.fields.map(({ name, type }) => {
      const column = `_t.${quoteName(name)}`;
      return `${type === 'timestamp' ? timeTextSql(column, precision) : column} AS ${quoteName(name)}`;
    });
    // The order is that of the columns, which their texts do not have.
    const ofColumns = keys.map(({ sql, isDescending }) => `_t.${sql}${isDescending ? ' DESC' : ''}`).join(', ');
    const most = limit === undefined ? '' : ` LIMIT ${limit}`;
    return { sql: `SELECT ${texts.join(', ')} FROM ${rows} AS _t ORDER BY ${ofColumns}${most}`, params };
  }
  const key = `toJSONString([${keys.map(({ sql }) => `toString(${sql})`).join(', ')}])`;
  if (wants === 'end') {
    const rows = mergedTableSql(source, params, { columns: inner, where, end: sideEnd });
    const page = `SELECT ${key} AS _k, row_number() OVER (${order}) AS _n, count() OVER () AS _all FROM (SELECT * FROM ${rows} ${end})`;
    return { sql: `SELECT _k FROM (${page}) WHERE _n = ${limit} AND _all > ${limit}`, params };
  }
  const rows = mergedTableSql(source, params, {
    columns: ['toString(_partition_id) AS _p', ...inner],
    tailColumns: ["'' AS _p", ...inner],
    where,
    end: sideEnd,
  });
  // The rows come in one stream, in order: they were sorted and cut.
  const marked = `multiIf(_n < ${limit}, _p, _n = ${limit}, concat(_p, ' ', ${key}), '${surplus}')`;
  return {
    sql: `SELECT ${[`${marked} AS ${hiddenColumn}`, ...shown].join(', ')}
FROM (SELECT *, rowNumberInAllBlocks() + 1 AS _n FROM (SELECT * FROM ${rows} ${end})) ORDER BY _n`,
    params,
  };
}

/** What rows have to be, but for a cursor. */
export function conditions(source: Source, plan: QueryPlan, limits: Limits, params: Settings): string[] {
  const after = plan.after.map(([lane, , seq]) => {
    params[`param__a${lane}`] = seq;
    return `(_lane != ${lane} OR _seq > {_a${lane}:UInt64})`;
  });
  return [
    ...rangeConditions(source.table.schema, plan.range, params),
    ...after,
    ...partitionKeySql(plan.partitionKey, limits, params),
    ...filterSql(plan.filters, source.table, limits, params),
  ];
}

/** The order asked for, then time, then what tells rows apart, so that every page has its place. */
function sortKeys({ orderBy }: QueryPlan, table: Table): SortKey[] {
  const { schema } = table;
  const fields = new Map(schema.fields.map((field) => [field.name, field]));
  const asked = orderBy.map(({ column, direction }): SortKey => {
    const field = fields.get(column);
    if (field === undefined) throw invalidRequest(`orderBy: table ${table.name} has no field ${column}`);
    const type = clickhouseType(field, schema);
    if (isNeverNull(field.type)) throw invalidRequest(`orderBy: ${column} is ${field.type}, which has no order`);
    const isNullable = type.startsWith('Nullable(');
    const plain = isNullable ? type.slice('Nullable('.length, -1) : type;
    return { sql: quoteName(column), isDescending: direction === 'desc', isNullable, type: plain };
  });
  if (new Set(asked.map(({ sql }) => sql)).size < asked.length) throw invalidRequest('orderBy: a field is named twice');
  const time = quoteName(schema.timestampColumn);
  const rest: SortKey[] = [
    { sql: time, isDescending: false, isNullable: false, type: timeType(precisionOf(schema)) },
    ...identity,
  ];
  return [...asked, ...rest.filter(({ sql }) => !asked.some((each) => each.sql === sql))];
}

/** Rows after the one that a cursor is of. Null comes last in either direction, as ClickHouse sorts it, and NaN just before. */
function afterCursor({ cursor }: QueryPlan, keys: SortKey[], params: Settings): string[] {
  if (cursor === undefined) return [];
  if (cursor.key.length !== keys.length) throw invalidRequest('cursor: it does not fit the query');
  const equal: string[] = [];
  const after: string[] = [];
  for (const [i, { sql, isDescending, isNullable, type }] of keys.entries()) {
    const value = cursor.key[i] ?? null;
    const name = `_c${i}`;
    if (value === null) {
      // Nothing comes after null but other nulls.
      equal.push(`isNull(${sql})`);
      continue;
    }
    if (value === 'nan' && type === 'Float64') {
      after.push([...equal, `isNull(${sql})`].join(' AND '));
      equal.push(`isNaN(${sql})`);
      continue;
    }
    params[`param_${name}`] = parameterText(value);
    const greater = `${sql} ${isDescending ? '<' : '>'} {${name}:${type}}`;
    const isLater = [
      greater,
      ...(type === 'Float64' ? [`isNaN(${sql})`] : []),
      ...(isNullable ? [`isNull(${sql})`] : []),
    ];
    after.push([...equal, `(${isLater.join(' OR ')})`].join(' AND '));
    equal.push(`${sql} = {${name}:${type}}`);
  }
  return [`(${after.map((each) => `(${each})`).join(' OR ')})`];
}
