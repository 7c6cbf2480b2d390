import batchIngest from '../guides/batch-ingest.md';
import cli from '../guides/cli.md';
import clusters from '../guides/clusters.md';
import configuration from '../guides/configuration.md';
import deleteAndCorrect from '../guides/delete-and-correct.md';
import deploy from '../guides/deploy.md';
import errors from '../guides/errors.md';
import exportRows from '../guides/export.md';
import fields from '../guides/fields.md';
import freshness from '../guides/freshness.md';
import gettingStarted from '../guides/getting-started.md';
import guarantees from '../guides/guarantees.md';
import importFiles from '../guides/import.md';
import ingest from '../guides/ingest.md';
import invalidRows from '../guides/invalid-rows.md';
import keys from '../guides/keys.md';
import monitoring from '../guides/monitoring.md';
import monitoringReference from '../guides/monitoring-reference.md';
import operate from '../guides/operate.md';
import query from '../guides/query.md';
import index from '../guides/README.md';
import sql from '../guides/sql.md';
import tables from '../guides/tables.md';
import takeover from '../guides/takeover.md';
import typescriptClient from '../guides/typescript-client.md';

/** The list of all guides, by groups: it is the index page and gives the navigation its order. */
export const guideIndex: string = index;

/** The Markdown of each guide by its name, which is the file's and the last part of the address. */
export const guides: Readonly<Record<string, string>> = {
  'getting-started': gettingStarted,
  guarantees,
  ingest,
  fields,
  'batch-ingest': batchIngest,
  'invalid-rows': invalidRows,
  query,
  freshness,
  sql,
  cli,
  'typescript-client': typescriptClient,
  tables,
  keys,
  'delete-and-correct': deleteAndCorrect,
  import: importFiles,
  export: exportRows,
  takeover,
  monitoring,
  'monitoring-reference': monitoringReference,
  deploy,
  operate,
  clusters,
  configuration,
  errors,
};
