import type { Refusal, RefusalReason } from './coerce.ts';
import type { Rename } from './rename.ts';
import { compareTimes, type Time } from './timestamp.ts';
import type { Field, FieldType } from './types.ts';

/** An invalid row: its index in the request, the field and the reason. */
export type RowError = {
  index: number;
  field: string | null;
  reason: RefusalReason;
  detail: string;
  /** For a type mismatch: the type of the field, and the type that the value would give a new field. */
  oldType?: FieldType;
  newType?: FieldType;
};

/** An invalid row with its text, the invalid value, and its first line in the text. */
export type RefusedRow = RowError & {
  source: string;
  value: string | undefined;
  line: number;
  /** The cells of a CSV row, whose values depend on the types of their fields. */
  csv?: string;
};

/** The inference state of a field's type. */
export type OpenField = {
  /** A value is not an integer. */
  hasFraction: boolean;
  /** All values are empty lists, whose item type is unknown. */
  isEmpty: boolean;
};

/** Checks of rows in addition to the schema. */
export type RowChecks = {
  /** Rows before this time would be dropped by ClickHouse at once. */
  retainedFrom_ms?: number | undefined;
  /** The declared time range of all rows; both ends are inclusive. */
  timeRange?: { start: Time; end: Time } | undefined;
  /** Indices of rows that are always rejected, because the first attempt of the request rejected them. */
  refuse?: Set<number> | undefined;
  /** Maximum of rejected rows that are returned as sent. */
  keepRefused?: number | undefined;
  /** Whether a malformed line is an invalid row. Otherwise it makes the whole text malformed. */
  setsAside?: boolean | undefined;
  /** The fields to read. Default: all. */
  only?: ReadonlySet<string> | undefined;
  /** Fields that earlier rows of the same source have added: their types can still change. */
  open?: ReadonlyMap<string, OpenField> | undefined;
  /** Fields of the rows with another name in the table. */
  rename?: Rename | undefined;
  /** The number of the first line of the text. */
  firstLine?: number | undefined;
};

/** Rows of one request, ready to be staged. */
export type PreparedRows = {
  /** Each accepted row as a JSON object without its opening brace, in the stored form: `"field":…}`. No line breaks. */
  lines: string[];
  /** Event time of each, in ms. */
  times_ms: number[];
  /** Fields the schema does not have yet, with the types their values imply. */
  added: Field[];
  /** The first errors, and their total. */
  errors: RowError[];
  errorsTotal: number;
  /** The rejected rows, up to `keepRefused`. */
  refused: RefusedRow[];
};

/** The reason why a row of this time is rejected, if any. */
export function outsideOf({ retainedFrom_ms, timeRange }: RowChecks, time: Time): Refusal | undefined {
  if (retainedFrom_ms !== undefined && time.time_ms < retainedFrom_ms) {
    return { reason: 'past-retention', detail: 'the time is before the retention of the table' };
  }
  if (timeRange !== undefined && (compareTimes(time, timeRange.start) < 0 || compareTimes(time, timeRange.end) > 0)) {
    return { reason: 'outside-time-range', detail: 'the time is outside of partition.timeRange' };
  }
  return undefined;
}
