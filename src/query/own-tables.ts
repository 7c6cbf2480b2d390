import type { FlushDeps } from '../flush/deps.ts';
import type { Field } from '../schema/types.ts';

/**
 * A table of a dataset that SQL reads and the catalogue does not have: rows from elsewhere, which are sent with the statement,
 * or a view, which the statement contains in place of its name.
 */
export type OwnTable = OwnRows | OwnView;

type Described = { dataset: string; name: string; fields: Field[] };

export type OwnRows = Described & { kind: 'rows'; rows: Record<string, unknown>[] };

export type OwnView = Described & {
  kind: 'view';
  /** A table of the same dataset, and the fields of it that the view needs. */
  of: string;
  needs: string[];
  /**
   * The view over a relation with the rows of that table, and the columns _received_at, _lane, _seq and _row. The SELECT names
   * no table.
   */
  select(relation: string): string;
};

/** What a layer above adds to the tables of SQL. A table of the catalogue hides one of the same name. */
export type OwnTables = {
  /** Undefined where the dataset has no such table. Throws StoreError. */
  find(ctx: FlushDeps, dataset: string, name: string): Promise<OwnTable | undefined>;
  /** The tables of a dataset, or of all datasets. `of`: only these datasets. Throws StoreError. */
  list(ctx: FlushDeps, which: { dataset: string | undefined; of: string[] | undefined }): Promise<Described[]>;
};
