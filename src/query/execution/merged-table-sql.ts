import { quoteName } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { Fence } from './consistent-read.ts';

/** A table as a query reads it: its rows up to the fence, and its tail, where there is one. */
export type Source = {
  table: Table;
  fence: Fence;
  /** The external table that the tail is sent as. */
  tail: string | undefined;
  /** What the table with all its rows is called where the query is asked. */
  name: string;
  /** Tells the parameters of several tables of a query apart. */
  number: number;
};

type Parts = {
  /** What is selected; other expressions for the tail where a table has what it has not. */
  columns: string[];
  tailColumns?: string[];
  where?: string[];
  /** What stands at the end of both sides: order and limit. */
  end?: string;
};

/** SQL of a table's rows, as a subquery in brackets. Filter, order and limit stand on both sides: less is read and sent. */
export function mergedTableSql(source: Source, params: Settings, parts: Parts): string {
  const { name, tail } = source;
  const { columns, tailColumns = columns, where = [], end = '' } = parts;
  const branch = (selected: string[], from: string, conditions: string[]) => {
    const filter = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
    return `SELECT ${selected.join(', ')} FROM ${from}${filter}${end === '' ? '' : ` ${end}`}`;
  };
  const stored = branch(columns, name, [...where, ...conditionsOf(source, params)]);
  if (tail === undefined) return `(${stored})`;
  const buffered = branch(tailColumns, quoteName(tail), where);
  return end === '' ? `(${stored} UNION ALL ${buffered})` : `((${stored}) UNION ALL (${buffered}))`;
}

function conditionsOf({ fence, number }: Source, params: Settings): string[] {
  const conditions = fence.lanes.map(({ lane, watermark }) => {
    const name = `_w${number}_${lane}`;
    params[`param_${name}`] = watermark;
    return fence.below === 1 ? `_seq <= {${name}:UInt64}` : `(_lane != ${lane} OR _seq <= {${name}:UInt64})`;
  });
  return fence.below === undefined ? conditions : [...conditions, `_lane < ${fence.below}`];
}
