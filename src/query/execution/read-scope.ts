import { ApiError } from '../../core/errors.ts';
import type { RowFilter } from '../../keys/key.ts';
import type { Table } from '../../schema/table.ts';
import type { Condition } from '../request/filters.ts';

/** The datasets and rows that a key may read. */
export type ReadScope = {
  reads(dataset: string): boolean;
  rowFilter: RowFilter | null;
};

const valueTypes = {
  string: 'string',
  double: 'number',
  integer: 'number',
  unsigned: 'number',
  boolean: 'boolean',
} as const;

/**
 * The row filter of a key as a condition on a table; undefined for a key without one.
 *
 * @throws ApiError `forbidden` for a table without a column of that name and type: none of its rows is known to be allowed
 */
export function rowFilterCondition(
  { rowFilter }: ReadScope,
  { name, dataset, schema }: Pick<Table, 'name' | 'dataset'> & { schema: Pick<Table['schema'], 'fields'> },
): Condition | undefined {
  if (rowFilter === null) return undefined;
  const { column, value } = rowFilter;
  const type = schema.fields.find((field) => field.name === column)?.type;
  const kind = type !== undefined && type in valueTypes ? valueTypes[type as keyof typeof valueTypes] : undefined;
  const isWhole = type === 'integer' || type === 'unsigned';
  if (kind === typeof value && (!isWhole || Number.isSafeInteger(value))) return { column, op: 'eq', value };
  throw new ApiError(
    'forbidden',
    `The row filter of this key needs a column ${column}, which table ${name} of dataset ${dataset} does not have with ` +
      'that type.',
  );
}
