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

/** A column of the sort order. The last columns make the order total. */
type SortKey = { sql: string; isDescending: boolean; isNullable: boolean; type: string };

const identity: SortKey[] = [
  { sql: '_lane', isDescending: false, isNullable: false, type: 'UInt16' },
  { sql: '_seq', isDescending: false, isNullable: false, type: 'UInt64' },
  { sql: '_row', isDescending: false, isNullable: false, type: 'UInt32' },
];

/**
 * Raw rows in order, from the stored rows and the tail.
 *
 * @param output `rows`; `text` has times as text; `marked` adds the hidden member with the source of each row and the sort
 *   key of the last; `end` is that sort key alone, empty where no row follows the page
 */
export function rowsStatement(
  source: Source,
  plan: QueryPlan,
  limits: Limits,
  output: 'rows' | 'text' | 'marked' | 'end',
): Statement {
  const { table } = source;
  const params: Settings = {};
  const keys = sortKeys(plan, table);
  const where = [...rowConditions(source, plan, limits, params), ...afterCursor(plan, keys, params)];
  const order = `ORDER BY ${keys.map(({ sql, isDescending }) => `${sql}${isDescending ? ' DESC' : ''}`).join(', ')}`;
  const { limit } = plan;
  // A surplus row shows that more rows follow.
  const isExact = output === 'rows' || output === 'text';
  const end = limit === undefined ? order : `${order} LIMIT ${limit + (isExact ? 0 : 1)}`;
  const selected = plan.fields.map(({ name }) => quoteName(name));
  // The sort columns may not be part of the answer.
  const inner = [...new Set([...(output === 'end' ? [] : selected), ...keys.map(({ sql }) => sql)])];
  const sideEnd = limit === undefined ? '' : end;
  if (output === 'rows') {
    return {
      sql: `SELECT ${selected.join(', ')} FROM ${mergedTableSql(source, params, { columns: inner, where, end: sideEnd })} ${end}`,
      params,
    };
  }
  if (output === 'text') {
    const precision = precisionOf(table.schema);
    const rows = mergedTableSql(source, params, { columns: inner, where, end: sideEnd });
    const texts = plan.fields.map(({ name, type }) => {
      const column = `_t.${quoteName(name)}`;
      return `${type === 'timestamp' ? timeTextSql(column, precision) : column} AS ${quoteName(name)}`;
    });
    // Texts sort differently: the order uses the columns.
    const columnOrder = keys.map(({ sql, isDescending }) => `_t.${sql}${isDescending ? ' DESC' : ''}`).join(', ');
    const limitSql = limit === undefined ? '' : ` LIMIT ${limit}`;
    return { sql: `SELECT ${texts.join(', ')} FROM ${rows} AS _t ORDER BY ${columnOrder}${limitSql}`, params };
  }
  const key = `toJSONString([${keys.map(({ sql }) => `toString(${sql})`).join(', ')}])`;
  if (output === 'end') {
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
  // The subquery has sorted the rows into one stream, so that their numbers follow the order.
  const marked = `multiIf(_n < ${limit}, _p, _n = ${limit}, concat(_p, ' ', ${key}), '${surplus}')`;
  return {
    sql: `SELECT ${[`${marked} AS ${hiddenColumn}`, ...selected].join(', ')}
FROM (SELECT *, rowNumberInAllBlocks() + 1 AS _n FROM (SELECT * FROM ${rows} ${end})) ORDER BY _n`,
    params,
  };
}

/** All conditions but that of the cursor. */
export function rowConditions(source: Source, plan: QueryPlan, limits: Limits, params: Settings): string[] {
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

/** The columns of `orderBy`, the time, and the identity of the row: a total order, so that a cursor is unambiguous. */
function sortKeys({ orderBy }: QueryPlan, table: Table): SortKey[] {
  const { schema } = table;
  const fields = new Map(schema.fields.map((field) => [field.name, field]));
  const ordered = orderBy.map(({ column, direction }): SortKey => {
    const field = fields.get(column);
    if (field === undefined) throw invalidRequest(`orderBy: table ${table.name} has no field ${column}`);
    const type = clickhouseType(field, schema);
    if (isNeverNull(field.type)) throw invalidRequest(`orderBy: ${column} of type ${field.type} has no order`);
    const isNullable = type.startsWith('Nullable(');
    const plain = isNullable ? type.slice('Nullable('.length, -1) : type;
    return { sql: quoteName(column), isDescending: direction === 'desc', isNullable, type: plain };
  });
  if (new Set(ordered.map(({ sql }) => sql)).size < ordered.length) throw invalidRequest('orderBy: duplicate column');
  const time = quoteName(schema.timestampColumn);
  const rest: SortKey[] = [
    { sql: time, isDescending: false, isNullable: false, type: timeType(precisionOf(schema)) },
    ...identity,
  ];
  return [...ordered, ...rest.filter(({ sql }) => !ordered.some((each) => each.sql === sql))];
}

/** Rows after the cursor. ClickHouse sorts null last in both directions, and NaN before null. */
function afterCursor({ cursor }: QueryPlan, keys: SortKey[], params: Settings): string[] {
  if (cursor === undefined) return [];
  if (cursor.key.length !== keys.length) throw invalidRequest('cursor: the cursor does not belong to this query');
  const equal: string[] = [];
  const after: string[] = [];
  for (const [i, { sql, isDescending, isNullable, type }] of keys.entries()) {
    const value = cursor.key[i] ?? null;
    const name = `_c${i}`;
    if (value === null) {
      // Only other nulls follow null.
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
