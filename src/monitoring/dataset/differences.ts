import type { Limits } from '../../core/limits.ts';
import type { Table } from '../../schema/table.ts';
import { type Field, requiredFields } from '../../schema/types.ts';
import { isSameField, type RowTable, retention, schemaOf, window } from './tables.ts';

/** A difference of a table from the one that the set-up makes. */
export type Difference = {
  table: string;
  column: string | null;
  what: 'table' | 'column' | 'type' | 'key' | 'timestamp column' | 'partition' | 'retention' | 'right';
  expected: string;
  actual: string;
  /** Whether the set-up cannot remove it. */
  isLasting: boolean;
};

/** The differences of a definition in the catalogue. Fields that a table has besides are none. */
export function differencesOf(table: Table, name: RowTable, limits: Limits): Difference[] {
  const expected = schemaOf(name, limits);
  const { schema } = table;
  const compare = (what: Difference['what'], wanted: string, actual: string, isLasting = true): Difference[] => {
    return wanted === actual ? [] : [{ table: name, column: null, what, expected: wanted, actual, isLasting }];
  };
  const days = (value: number | undefined) => (value === undefined ? 'none' : `${value} days`);
  return [
    ...compare('timestamp column', expected.timestampColumn, schema.timestampColumn),
    ...compare('key', expected.keyFields.join(', '), schema.keyFields.join(', ')),
    ...compare('partition', window, table.window),
    ...compare('retention', days(retention.totalDays), days(table.retention?.totalDays), false),
    ...expected.fields.flatMap((field): Difference[] => {
      const actual = schema.fields.find((each) => each.name === field.name);
      const one = { table: name, column: field.name, expected: describeField(field) };
      if (actual === undefined) {
        const isLasting = requiredFields(expected).includes(field.name);
        return [{ ...one, what: 'column', actual: 'missing', isLasting }];
      }
      if (isSameField(field, actual)) return [];
      return [{ ...one, what: 'type', actual: describeField(actual), isLasting: true }];
    }),
  ];
}

/** The fields that a table lacks and that can be added, in the schema version that would follow. */
export function missingFields({ schema }: Table, name: RowTable, limits: Limits): Field[] {
  const known = new Set(schema.fields.map((field) => field.name));
  const missing = schemaOf(name, limits).fields.filter((field) => !known.has(field.name));
  return missing.map((field) => (field.default === undefined ? field : { ...field, since: schema.version + 1 }));
}

function describeField({ type, values, required, default: text }: Field): string {
  const parts = [
    type,
    ...(values === undefined ? [] : [`of ${values.join(', ')}`]),
    ...(required === true ? ['required'] : []),
    ...(text === undefined ? [] : [`default ${text}`]),
  ];
  return parts.join(' ');
}
