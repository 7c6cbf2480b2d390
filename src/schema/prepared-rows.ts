import type { Refusal, RefusalReason } from './coerce.ts';
import type { Rename } from './rename.ts';
import { compareTimes, type Time } from './timestamp.ts';
import type { Field, FieldType } from './types.ts';

/** A row that cannot be stored: its place in the request (from 0), which field and why. */
export type RowError = {
  index: number;
  field: string | null;
  reason: RefusalReason;
  detail: string;
  /** Of a value that its field does not take: the field's type, and the one that the value would have given a new field. */
  oldType?: FieldType;
  newType?: FieldType;
};

/** A refused row with what was sent, the value that was refused, and the line of the text that the row begins on. */
export type RefusedRow = RowError & {
  source: string;
  value: string | undefined;
  line: number;
  /** Of a row of CSV, whose cells mean other values once their fields have other types. */
  csv?: string;
};

/** What the values of a field have shown so far, whose type may yet turn out to be another. */
export type OpenField = {
  /** One of them is not whole. */
  hasFraction: boolean;
  /** All of them are empty lists, of which nobody knows what they are lists of. */
  isEmpty: boolean;
};

/** What is asked of rows beyond the schema. */
export type RowChecks = {
  /** Rows before this time would be dropped by ClickHouse at once. */
  retainedFrom_ms?: number | undefined;
  /** What the sender says of all rows; both ends belong to it. */
  timeRange?: { start: Time; end: Time } | undefined;
  /** Places of rows that are refused whatever is in them: they were when the same request came first. */
  refuse?: Set<number> | undefined;
  /** Whether refused rows are kept as they were sent, up to how many. */
  keepRefused?: number | undefined;
  /** Whether a line that is no row is refused as a row. If not, none of the text can be read. */
  setsAside?: boolean | undefined;
  /** The fields that are taken of each row; all if left out. */
  only?: ReadonlySet<string> | undefined;
  /** Fields that earlier rows of the same source have made: their types may yet turn out to be others. */
  open?: ReadonlyMap<string, OpenField> | undefined;
  /** Names in the rows that are others in the table. */
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
  /** The first rows at fault, and how many there are. */
  errors: RowError[];
  errorsTotal: number;
  /** The refused rows, where they were asked for. */
  refused: RefusedRow[];
};

/** Why a row of this time is refused; undefined if it is not. */
export function outsideOf({ retainedFrom_ms, timeRange }: RowChecks, time: Time): Refusal | undefined {
  if (retainedFrom_ms !== undefined && time.time_ms < retainedFrom_ms) {
    return { reason: 'past-retention', detail: 'the table does not keep rows of this time any more' };
  }
  if (timeRange !== undefined && (compareTimes(time, timeRange.start) < 0 || compareTimes(time, timeRange.end) > 0)) {
    return { reason: 'outside-time-range', detail: 'the time is not in the range that partition.timeRange says' };
  }
  return undefined;
}
