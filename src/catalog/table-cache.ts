import { inEachInstance } from '../core/instance-memory.ts';
import { LruMap } from '../core/lru-map.ts';
import type { Table } from '../schema/table.ts';

/** Cached table definitions, by `<dataset>.<name>`. */
export const knownTables = inEachInstance(
  ({ limits }) =>
    new LruMap<{ table: Table; seenAt_ms: number }>(
      limits.kept_fields_max,
      ({ table }) => 1 + table.schema.fields.length,
    ),
);
