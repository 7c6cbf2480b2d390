import * as z from 'zod';
import { coerce, type Refusal } from '../../schema/coerce.ts';
import { type FieldType, precisionOf } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationNode } from '../deps.ts';
import { kinds, shownChars_max } from './shown-value.ts';
import { type Planned, type Staged, stagedSql, stagingName } from './staging.ts';

/** A row that cannot be stored: its place in its object, from 0; in text its line, from 1. */
export type WrongRow = {
  object: string;
  row: number;
  line?: number | undefined;
  field: string;
  reason: string;
  detail?: string | undefined;
  value: string;
};

/** Says which refused row is the first one, and why. */
export function firstWrong([first]: WrongRow[]): string {
  if (first === undefined) return '';
  const { field, row, object, line, detail } = first;
  const where = `${field === '' ? '' : `${field} in `}row ${row} of object ${object}${line === undefined ? '' : ` (line ${line})`}`;
  return `, the first one ${where}${detail === undefined ? '' : `: ${detail}`}`;
}

const told_max = 100;

const wrongRowsRow = z.object({
  object: z.number(),
  place: z.string(),
  field: z.string(),
  value: z.string().nullable(),
});

/** The first refused rows of Parquet objects, in the order of the objects. */
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
      WHERE ${stagedSql(staged)} AND _wrong != '' ORDER BY object, place LIMIT ${told_max}`,
    ),
  );
  return rows.map(({ object, place, field, value }) => {
    const type = table.schema.fields.find(({ name }) => name === field)?.type ?? 'json';
    const where = { object: keys[object] ?? '', row: Number(place), field };
    if (value === null) return { ...where, reason: 'missing', value: 'null' };
    const [kind = '', text] = [value.slice(0, 1), value.slice(1)];
    const { reason, detail } = refusalOf(type, kind, text, precisionOf(table.schema));
    return { ...where, reason, ...(detail !== undefined && { detail }), value: text.slice(0, 100) };
  });
}

/** Why a value is refused: what a request says of the same. */
function refusalOf(
  type: FieldType,
  kind: string,
  text: string,
  precision: ReturnType<typeof precisionOf>,
): Pick<Refusal, 'reason'> & { detail?: string } {
  if (kind === kinds.unclear) return { reason: 'not-exact', detail: unclear };
  const value = requestValue(kind, text);
  const refusal = value && coerce(type, value, precision);
  if (refusal !== undefined && typeof refusal !== 'string') return { reason: refusal.reason, detail: refusal.detail };
  if (type === 'string' || type === 'string[]') return { reason: 'bad-string', detail: 'not all of it is UTF-8' };
  return { reason: 'wrong-type', ...(type === 'json' && { detail: noJson }) };
}

const unclear =
  'the object does not say whether this is null or empty; write it with size statistics, or send it with `timestore ingest`';
const noJson =
  'it holds what JSON has not: NaN, an infinity, a key twice, bytes that are no text, a time beyond all calendars';

/** The value as it would come with a request; undefined for what would come as something else, or is not all there. */
function requestValue(kind: string, text: string): Parameters<typeof coerce>[1] | undefined {
  if (kind === kinds.number) return { kind: 'number', text, escaped: false };
  if (kind === kinds.string) return { kind: 'string', text: JSON.stringify(text), escaped: true };
  return kind === kinds.array && text.length < shownChars_max - 1 ? { kind: 'array', text, escaped: true } : undefined;
}
