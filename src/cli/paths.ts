import { tableName } from './config.ts';
import { usage } from './failure.ts';

/** The path of a dataset in the API. */
export const datasetPath = (dataset: string): string => `/v1/admin/datasets/${encodeURIComponent(dataset)}`;

/** The path of `DATASET.TABLE`. Throws CliFailure. */
export function tablePath(name: string): string {
  const { dataset, table } = tableName(name);
  return `${datasetPath(dataset)}/tables/${encodeURIComponent(table)}`;
}

/** The path of the saved query `DATASET/NAME`. Throws CliFailure. */
export function savedPath(text: string): string {
  const [dataset = '', name = '', ...rest] = text.split('/');
  if (dataset === '' || name === '' || rest.length > 0) {
    throw usage(`"${text}" is not a saved query: use DATASET/NAME.`);
  }
  return `/v1/sql/saved/${encodeURIComponent(dataset)}/${encodeURIComponent(name)}`;
}
