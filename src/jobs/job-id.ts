import { physicalName } from '../core/identifiers.ts';
import { digest } from '../ingest/quarantine.ts';

/** The table of a job, which may not exist yet, in one life of its name. */
type Target = { dataset: string; name: string; life: number; datasetLife?: number };

/**
 * The id of a job that was requested with an idempotency key: the same key gives the same id within one life of the table.
 * In the next life of the name the key gives a new id.
 *
 * @param target `datasetLife` is required where the table may not exist yet: its dataset may be dropped first
 * @returns undefined without a key: each request creates a job of its own
 */
export function keyedJobId(
  kind: 'change-rows' | 'export' | 'import' | 'compare',
  { dataset, name, life, datasetLife = 1 }: Target,
  key: string | undefined,
): string | undefined {
  if (key === undefined) return undefined;
  return digest(`${kind}/${physicalName(dataset, datasetLife)}/${physicalName(name, life)}/${key}`);
}
