import type { CatalogDeps } from './deps.ts';

/**
 * Raises the revision of a dataset after the catalogue was restored from an older state: the hot buffer has a newer revision and
 * would ignore the next changes.
 *
 * @param newer the revision in the hot buffer
 * @returns false if a concurrent change has raised it already
 */
export async function raiseRevision({ postgres, log }: CatalogDeps, dataset: string, newer: number): Promise<boolean> {
  const raised = await postgres.rows(
    'update datasets set revision = $newer::int + 1 where name = $dataset and revision < $newer::int returning name',
    { dataset, newer },
  );
  if (raised.length === 0) return false;
  log({ event: 'catalogue-set-back', alarm: true, dataset, repaired: newer + 1 });
  return true;
}
