import { ApiError } from '../../core/errors.ts';
import type { RowFilter } from '../../keys/key.ts';
import type { Table } from '../../schema/table.ts';
import type { Condition } from '../request/filters.ts';

/** Who reads: which datasets, and of their tables which rows. */
export type ReadScope = {
  reads(dataset: string): boolean;
  rowFilter: RowFilter | null;
};

const kindOf = {
  string: 'string',
  double: 'number',
  integer: 'number',
  unsigned: 'number',
  boolean: 'boolean',
} as const;

/**
 * The condition that a reader's rows of a table hold; undefined where it reads all of them.
 *
 * @throws TimestoreError `forbidden` for a table without that column, or with one that cannot have the value: nothing of it
 *   is known to be the reader's
 */
export function rowFilterCondition({ rowFilter }: ReadScope, { name, dataset, schema }: Table): Condition | undefined {
  if (rowFilter === null) return undefined;
  const { column, value } = rowFilter;
  const type = schema.fields.find((field) => field.name === column)?.type;
  const kind = type !== undefined && type in kindOf ? kindOf[type as keyof typeof kindOf] : undefined;
  const isWhole = type === 'integer' || type === 'unsigned';
  if (kind === typeof value && (!isWhole || Number.isSafeInteger(value))) return { column, op: 'eq', value };
  throw new ApiError(
    'forbidden',
    `This key reads rows by their column ${column} only, and table ${name} of dataset ${dataset} has none of that name and ` +
      'type.',
  );
}
