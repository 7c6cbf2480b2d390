import * as z from 'zod';
import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import { isDecimal } from '../../schema/decimal.ts';
import type { Table } from '../../schema/table.ts';
import type { Field, FieldType, TableSchema } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { arrayText, parameterText } from '../../stores/clickhouse/parameter.ts';
import { bindValue, commonType, isListField, itemType, listTooLong } from './bind-value.ts';
import { fitDecimals } from './decimal-filter.ts';
import {
  describeOperators,
  type FieldKind,
  type Operator,
  operatorDefinition,
  operatorNames,
  takesList,
} from './operators.ts';

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const condition = z.strictObject({
  column: z.string(),
  op: z.enum(operatorNames).meta({ description: describeOperators() }),
  value: z.union([scalar, z.array(scalar)]).optional(),
});

export type Condition = z.output<typeof condition>;
export type Filter = Condition | { and: Filter[] } | { or: Filter[] };

const depth_max = 8;

/** A condition on a column, or a group of them. */
export const filterSchema: z.ZodType<Filter> = z
  .union([
    condition,
    z.strictObject({
      get and() {
        return z.array(filterSchema).min(1);
      },
    }),
    z.strictObject({
      get or() {
        return z.array(filterSchema).min(1);
      },
    }),
  ])
  .meta({ id: 'Filter' });

function fieldKind(type: FieldType): FieldKind {
  if (type === 'timestamp' || type === 'boolean' || type === 'map') return type;
  if (type === 'double' || type === 'integer' || type === 'unsigned' || isDecimal(type)) return 'number';
  if (type === 'string' || type === 'json') return 'text';
  return type === 'string[]' ? 'strings' : 'vector';
}

/**
 * SQL of filters. Values are bound as parameters.
 *
 * @param prefix of the names of the parameters
 * @throws ApiError `invalid-request`, `limit-exceeded`
 */
export function filterSql(filters: Filter[], table: Table, limits: Limits, params: Settings, prefix = '_f'): string[] {
  const fields = new Map(table.schema.fields.map((field) => [field.name, field]));
  let count = 0;
  const buildSql = (filter: Filter, depth: number): string => {
    if (depth > depth_max) throw limitExceeded(`filters.columns: groups nest at most ${depth_max} deep`);
    if ('and' in filter) return `(${filter.and.map((each) => buildSql(each, depth + 1)).join(' AND ')})`;
    if ('or' in filter) return `(${filter.or.map((each) => buildSql(each, depth + 1)).join(' OR ')})`;
    count += 1;
    if (count > limits.query_filters_max) {
      throw limitExceeded(`filters.columns: at most ${limits.query_filters_max} conditions (limit query_filters_max)`);
    }
    const field = fields.get(filter.column);
    if (field === undefined) throw invalidRequest(`filters.columns: table ${table.name} has no field ${filter.column}`);
    const conditions = isDecimal(field.type) ? fitDecimals(filter, field.type) : [filter];
    if (conditions === 'never') return 'false';
    const parts = conditions.map((each, i) => {
      const parameter = `${prefix}${count}${'x'.repeat(i)}`;
      return conditionSql(each, { field, schema: table.schema, limits, params, parameter });
    });
    return parts.length === 1 ? parts.join() : `(${parts.join(' AND ')})`;
  };
  return filters.map((filter) => buildSql(filter, 0));
}

type Scope = { field: Field; schema: TableSchema; limits: Limits; params: Settings; parameter: string };

function conditionSql({ column, op, value }: Condition, scope: Scope): string {
  const { field } = scope;
  requireOperator(op, field);
  const operator = operatorDefinition(op);
  const takesNone = operator.operand === 'none';
  if (takesNone !== (value === undefined)) {
    throw invalidRequest(`filters.columns: ${op} of ${column} takes ${takesNone ? 'no value' : 'a value'}`);
  }
  const quoted = quoteName(column);
  if (value === undefined) return operator.sql(quoted, '', '');
  const isList = takesList(op, isListField(field));
  if (isList !== Array.isArray(value)) {
    throw invalidRequest(`filters.columns: ${op} of ${column} takes ${isList ? 'a list' : 'one value'}`);
  }
  return Array.isArray(value) ? listSql(op, value, quoted, scope) : valueSql(op, value, quoted, scope);
}

function requireOperator(op: Operator, { name, type }: Field): void {
  const kind = fieldKind(type);
  if (operatorDefinition(op).kinds.includes(kind)) return;
  const known = operatorNames.filter((each) => operatorDefinition(each).kinds.includes(kind));
  throw invalidRequest(
    `filters.columns: operator ${op} does not apply to ${name} of type ${type}; use one of ${known.join(', ')}`,
  );
}

type Scalar = z.output<typeof scalar>;

function valueSql(op: Operator, value: Scalar, column: string, { field, schema, params, parameter }: Scope): string {
  const { sql, withNull, isPattern } = operatorDefinition(op);
  if (value === null) {
    if (withNull !== undefined) return operatorDefinition(withNull).sql(column, '', '');
    throw invalidRequest(`filters.columns: ${op} of ${field.name} does not take null`);
  }
  const { text, type } = bindValue(field, value, schema);
  if (isPattern && /(?<!\\)(?:\\\\)*\\$/.test(text)) {
    throw invalidRequest(`filters.columns: the pattern of ${field.name} ends with an incomplete escape (\\)`);
  }
  params[`param_${parameter}`] = parameterText(text);
  return sql(column, `{${parameter}:${type}}`, '');
}

function listSql(op: Operator, list: Scalar[], column: string, scope: Scope): string {
  const { field, schema, limits, params, parameter } = scope;
  const { operand, sql } = operatorDefinition(op);
  if (list.length > limits.query_list_max) throw listTooLong('filters.columns', limits);
  const values = list.map((value) => {
    if (value === null) {
      throw invalidRequest(`filters.columns: the list of ${field.name} contains null; use isNull instead`);
    }
    return bindValue(field, value, schema);
  });
  if (operand === 'range') {
    const [low, high, ...more] = values;
    if (low === undefined || high === undefined || more.length > 0) {
      throw invalidRequest(`filters.columns: ${op} of ${field.name} takes two values`);
    }
    params[`param_${parameter}a`] = parameterText(low.text);
    params[`param_${parameter}b`] = parameterText(high.text);
    return sql(column, `{${parameter}a:${low.type}}`, `{${parameter}b:${high.type}}`);
  }
  const type = isListField(field) ? itemType(field) : commonType(values.map((each) => each.type));
  const text = arrayText(
    values.map((each) => each.text),
    type !== 'String' && !type.startsWith('Date'),
  );
  if (text.length > limits.sql_param_bytes_max) throw listTooLong('filters.columns', limits);
  params[`param_${parameter}`] = text;
  return sql(column, `{${parameter}:Array(${type})}`, '');
}
