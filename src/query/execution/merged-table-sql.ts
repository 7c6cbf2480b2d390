import { quoteName } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { Fence } from './consistent-read.ts';

/** A table as a statement reads it: its stored rows up to the fence, and its tail. */
export type Source = {
  table: Table;
  fence: Fence;
  /** The name of the external table of the tail; undefined for an empty tail. */
  tail: string | undefined;
  /** The name of the table with the rows of all shards, on the node that runs the statement. */
  name: string;
  /** Distinguishes the parameters of several tables. */
  number: number;
};

type Parts = {
  /** Selected expressions; `tailColumns` for columns that the external table does not have. */
  columns: string[];
  tailColumns?: string[];
  where?: string[];
  /** ORDER BY and LIMIT of both sides. */
  end?: string;
};

/** SQL of the rows of a table, as a subquery in parentheses. Filter, order and limit apply to both sides, which then read less. */
export function mergedTableSql(source: Source, params: Settings, parts: Parts): string {
  const { name, tail } = source;
  const { columns, tailColumns = columns, where = [], end = '' } = parts;
  const branch = (selected: string[], from: string, conditions: string[]) => {
    const filter = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
    return `SELECT ${selected.join(', ')} FROM ${from}${filter}${end === '' ? '' : ` ${end}`}`;
  };
  const stored = branch(columns, name, [...where, ...fenceConditions(source, params)]);
  if (tail === undefined) return `(${stored})`;
  const buffered = branch(tailColumns, quoteName(tail), where);
  return end === '' ? `(${stored} UNION ALL ${buffered})` : `((${stored}) UNION ALL (${buffered}))`;
}

function fenceConditions({ fence, number }: Source, params: Settings): string[] {
  const conditions = fence.lanes.map(({ lane, watermark }) => {
    const name = `_w${number}_${lane}`;
    params[`param_${name}`] = watermark;
    return fence.below === 1 ? `_seq <= {${name}:UInt64}` : `(_lane != ${lane} OR _seq <= {${name}:UInt64})`;
  });
  return fence.below === undefined ? conditions : [...conditions, `_lane < ${fence.below}`];
}
