import type { Refusal } from './coerce.ts';
import { type CsvRow, csvText } from './csv.ts';
import { type Member, textOf } from './json-reader.ts';
import type { RefusedRow, RowError } from './prepared-rows.ts';

const errors_max = 100;

/** A rejected row as sent. */
type SentRow = {
  /** Index in the request. */
  index: number;
  source: string;
  line: number;
  /** The last member that was read. */
  member: Member | undefined;
  csv: CsvRow | undefined;
};

/** Collects the first errors of a request, and the rejected rows for quarantine. */
export class RowErrors {
  readonly errors: RowError[] = [];
  readonly refused: RefusedRow[] = [];
  readonly #kept_max: number;
  total = 0;

  constructor(kept_max: number) {
    this.#kept_max = kept_max;
  }

  /** @param sent reads the row as sent; called only for rows that are kept, because it is expensive */
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
