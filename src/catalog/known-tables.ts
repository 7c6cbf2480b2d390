import { inEachInstance } from '../instance-memory.ts';
import { Recent } from '../recent.ts';
import type { Table } from './table.ts';

/** Definitions of tables that an instance has seen, under `<dataset>.<name>`. */
export const knownTables = inEachInstance(
  ({ limits }) =>
    new Recent<{ table: Table; seenAt_ms: number }>(
      limits.kept_fields_max,
      ({ table }) => 1 + table.schema.fields.length,
    ),
);
