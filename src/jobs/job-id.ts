import { physicalName } from '../core/identifiers.ts';
import { digest } from '../ingest/quarantine.ts';

/** What a job is asked for: a table in one life of its name, there or to be made. */
type Target = { dataset: string; name: string; life: number; datasetLife?: number };

/**
 * The id of a job that is asked for under a key: the same for the same key, as long as the life of its table lasts. In the
 * next life of the name the key stands for nothing yet.
 *
 * @param readDatasetLife needed where the table may not be there yet: its dataset may be dropped before it is made
 * @returns undefined without a key: each request is a job of its own
 */
export function keyedJobId(
  kind: 'change-rows' | 'export' | 'import' | 'compare',
  { dataset, name, life, datasetLife = 1 }: Target,
  key: string | undefined,
): string | undefined {
  if (key === undefined) return undefined;
  return digest(`${kind}/${physicalName(dataset, datasetLife)}/${physicalName(name, life)}/${key}`);
}
