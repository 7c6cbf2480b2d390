import { tableName } from './config.ts';
import { usage } from './failure.ts';

/** Where the API has a dataset. */
export const datasetPath = (dataset: string): string => `/v1/admin/datasets/${encodeURIComponent(dataset)}`;

/** Where it has a table, from `DATASET.TABLE`. Throws CliFailure. */
export function tablePath(name: string): string {
  const { dataset, table } = tableName(name);
  return `${datasetPath(dataset)}/tables/${encodeURIComponent(table)}`;
}

/** Where it has a saved query, from `DATASET/NAME`. Throws CliFailure. */
export function savedPath(text: string): string {
  const [dataset = '', name = '', ...rest] = text.split('/');
  if (dataset === '' || name === '' || rest.length > 0) {
    throw usage(`"${text}" names no saved query: write DATASET/NAME.`);
  }
  return `/v1/sql/saved/${encodeURIComponent(dataset)}/${encodeURIComponent(name)}`;
}
