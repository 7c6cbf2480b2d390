import type { CatalogDeps } from './deps.ts';

/**
 * Where the hot buffer knows of a newer revision of a dataset than the catalogue has, the catalogue was set back in time:
 * its next changes would be taken for older ones. This gives it a revision beyond.
 *
 * @param newer that the hot buffer knows of
 * @returns whether that was so: else somebody has changed the record since it was read
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
