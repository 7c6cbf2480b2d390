import { Hono } from 'hono';
import type { App } from './http/app.ts';
import { crossOrigin, requestEvents, textInUrl, withTimestore } from './http/middleware.ts';
import { noRoute } from './http/no-route.ts';
import { problem } from './http/problem.ts';
import { addRoutes } from './http/route.ts';
import { auditRoutes } from './routes/audit.ts';
import { auditLogRoutes } from './routes/audit-log.ts';
import { backupRoutes } from './routes/backups.ts';
import { datasetComparisonRoutes } from './routes/dataset-comparisons.ts';
import { datasetRoutes } from './routes/datasets.ts';
import { docsRoutes } from './routes/docs.ts';
import { exportScheduleRoutes } from './routes/export-schedules.ts';
import { exportRoutes } from './routes/exports.ts';
import { flushRoutes } from './routes/flush.ts';
import { healthRoutes } from './routes/health.ts';
import { importRoutes } from './routes/imports.ts';
import { ingestRoutes } from './routes/ingest.ts';
import { jobRoutes } from './routes/jobs.ts';
import { keyRoutes } from './routes/keys.ts';
import { manifestRoutes } from './routes/manifests.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { monitorAlertRoutes } from './routes/monitor-alerts.ts';
import { monitorApplyRoutes } from './routes/monitor-apply.ts';
import { monitorCheckRoutes } from './routes/monitor-checks.ts';
import { monitorDatasetRoutes } from './routes/monitor-dataset.ts';
import { monitorIncidentRoutes } from './routes/monitor-incidents.ts';
import { monitorNotificationRoutes } from './routes/monitor-notifications.ts';
import { monitorResourceRoutes } from './routes/monitor-resources.ts';
import { monitorStatusRoutes } from './routes/monitor-status.ts';
import { quarantineRoutes } from './routes/quarantine.ts';
import { runningQueryRoutes } from './routes/queries.ts';
import { queryRoutes } from './routes/query.ts';
import { receiptRoutes } from './routes/receipts.ts';
import { reconcileRoutes } from './routes/reconcile.ts';
import { rowChangeRoutes } from './routes/row-changes.ts';
import { rowRoutes } from './routes/rows.ts';
import { savedQueryRoutes } from './routes/saved-queries.ts';
import { sqlRoutes } from './routes/sql.ts';
import { statusPageRoutes } from './routes/status-page.ts';
import { storageTargetRoutes } from './routes/storage-targets.ts';
import { tableComparisonRoutes } from './routes/table-comparisons.ts';
import { tableSchemaRoutes } from './routes/table-schema.ts';
import { tableRoutes } from './routes/tables.ts';
import { uploadRoutes } from './routes/uploads.ts';
import { webhookRoutes } from './routes/webhooks.ts';

/** The HTTP API: its middleware and its routes. */
export const app = new Hono<App>();
app.use(requestEvents);
app.use(crossOrigin);
app.use(textInUrl);
app.use('/v1/*', withTimestore);
app.use('/datasets/*', withTimestore);
app.use('/sql/*', withTimestore);
app.use('/ping/*', withTimestore);
app.use('/metrics', withTimestore);
app.use('/status/*', withTimestore);
app.use('/ready', withTimestore);
app.onError((error, c) => problem(c, error));
app.notFound((c) => problem(c, noRoute(app, c)));
addRoutes(app, [
  ...healthRoutes,
  ...metricsRoutes,
  ...rowRoutes,
  ...receiptRoutes,
  ...ingestRoutes,
  ...queryRoutes,
  ...runningQueryRoutes,
  ...sqlRoutes,
  ...savedQueryRoutes,
  ...flushRoutes,
  ...datasetRoutes,
  ...datasetComparisonRoutes,
  ...tableRoutes,
  ...tableSchemaRoutes,
  ...manifestRoutes,
  ...rowChangeRoutes,
  ...jobRoutes,
  ...auditLogRoutes,
  ...storageTargetRoutes,
  ...reconcileRoutes,
  ...backupRoutes,
  ...exportRoutes,
  ...exportScheduleRoutes,
  ...importRoutes,
  ...tableComparisonRoutes,
  ...uploadRoutes,
  ...webhookRoutes,
  ...quarantineRoutes,
  ...auditRoutes,
  ...keyRoutes,
  ...monitorDatasetRoutes,
  ...monitorResourceRoutes,
  ...monitorStatusRoutes,
  ...monitorNotificationRoutes,
  ...monitorIncidentRoutes,
  ...monitorCheckRoutes,
  ...monitorAlertRoutes,
  ...monitorApplyRoutes,
]);
app.route('/', statusPageRoutes());
app.route('/', docsRoutes(app));
