import * as z from 'zod';
import { coerce, notAllowed, type Refusal } from '../../schema/coerce.ts';
import { type Field, precisionOf } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationNode } from '../deps.ts';
import { kinds, shownChars_max } from './shown-value.ts';
import { type Planned, type Staged, stagedSql, stagingName } from './staging.ts';

/** An invalid row: its place in its object, from 0, and in text objects its line, from 1. */
export type WrongRow = {
  object: string;
  row: number;
  line?: number | undefined;
  field: string;
  reason: string;
  detail?: string | undefined;
  value: string;
};

/** Describes the first invalid row and the reason, for an error message. */
export function describeFirst([first]: WrongRow[]): string {
  if (first === undefined) return '';
  const { field, row, object, line, detail } = first;
  const where = `${field === '' ? '' : `${field} in `}row ${row} of object ${object}${line === undefined ? '' : ` (line ${line})`}`;
  return `, the first one ${where}${detail === undefined ? '' : `: ${detail}`}`;
}

const rows_max = 100;

const wrongRowsRow = z.object({
  object: z.number(),
  place: z.string(),
  field: z.string(),
  value: z.string().nullable(),
});

/** The first invalid rows of Parquet objects, in the order of the objects. */
export async function wrongRows(
  node: OperationNode,
  table: Planned,
  staging: string,
  staged: Staged[],
  keys: string[],
): Promise<WrongRow[]> {
  const rows = checkRows(
    wrongRowsRow,
    await node.clickhouse.rows(
      `SELECT _object AS object, _place AS place, _wrong AS field, _text AS value FROM ${stagingName(staging)}
      WHERE ${stagedSql(staged)} AND _wrong != '' ORDER BY object, place LIMIT ${rows_max}`,
    ),
  );
  return rows.map(({ object, place, field, value }) => {
    const known = table.schema.fields.find(({ name }) => name === field);
    const where = { object: keys[object] ?? '', row: Number(place), field };
    if (value === null) return { ...where, reason: 'missing', value: 'null' };
    const [kind = '', text] = [value.slice(0, 1), value.slice(1)];
    const { reason, detail } = findReason(known ?? { type: 'json' }, kind, text, precisionOf(table.schema));
    return { ...where, reason, ...(detail !== undefined && { detail }), value: text.slice(0, 100) };
  });
}

/** The reason that a request would give for the same value. */
function findReason(
  { type, values }: Pick<Field, 'type' | 'values'>,
  kind: string,
  text: string,
  precision: ReturnType<typeof precisionOf>,
): Pick<Refusal, 'reason'> & { detail?: string } {
  if (kind === kinds.unclear) return { reason: 'not-exact', detail: unclear };
  const value = requestValue(kind, text);
  const refusal = value && coerce(type, value, precision);
  if (refusal !== undefined && typeof refusal !== 'string') return { reason: refusal.reason, detail: refusal.detail };
  const other = typeof refusal === 'string' ? notAllowed(values, refusal) : undefined;
  if (other !== undefined) return other;
  if (type === 'string' || type === 'string[]') return { reason: 'bad-string', detail: 'the text is not valid UTF-8' };
  return { reason: 'wrong-type', ...(type === 'json' && { detail: noJson }) };
}

const unclear =
  'the object does not say whether this is null or empty; write it with size statistics, or send it with `timestore ingest`';
const noJson =
  'JSON cannot represent the value: NaN, an infinity, a duplicate key, invalid UTF-8 or a time outside of the years 1 to 9999';

/** The value as in a request; undefined for other kinds and for values that were shortened. */
function requestValue(kind: string, text: string): Parameters<typeof coerce>[1] | undefined {
  if (kind === kinds.number) return { kind: 'number', text, escaped: false };
  if (kind === kinds.string) return { kind: 'string', text: JSON.stringify(text), escaped: true };
  return kind === kinds.array && text.length < shownChars_max - 1 ? { kind: 'array', text, escaped: true } : undefined;
}
