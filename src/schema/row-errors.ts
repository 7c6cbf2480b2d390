import type { Refusal } from './coerce.ts';
import { type CsvRow, csvText } from './csv.ts';
import { type Member, textOf } from './json-reader.ts';
import type { RefusedRow, RowError } from './prepared-rows.ts';

const errors_max = 100;

/** A rejected row as it was sent. */
type SentRow = {
  /** Its place in the request, from 0. */
  index: number;
  source: string;
  line: number;
  /** The member that was read last. */
  member: Member | undefined;
  csv: CsvRow | undefined;
};

/** Errors of the rows of a request: the first ones in full, and as many rejected rows as are kept for quarantine. */
export class RowErrors {
  readonly errors: RowError[] = [];
  readonly refused: RefusedRow[] = [];
  readonly #kept_max: number;
  total = 0;

  constructor(kept_max: number) {
    this.#kept_max = kept_max;
  }

  /** @param sent reads the row, which costs something: only where it is kept */
  add(index: number, field: string | null, refusal: Refusal, sent: () => Omit<SentRow, 'index'>): void {
    this.total += 1;
    const error = { index, field, ...refusal };
    if (this.errors.length < errors_max) this.errors.push(error);
    if (this.refused.length >= this.#kept_max) return;
    const { source, line, member, csv } = sent();
    const kept = { ...error, source, line, value: textOf(member) };
    this.refused.push(csv === undefined ? kept : { ...kept, csv: csvText(csv) });
  }
}
