import { handleJob, type JobHandlers } from '../jobs/definition.ts';
import { backupJob, backupStep } from './backup/backup.ts';
import { restoreJob, restoreStep } from './backup/restore.ts';
import type { OperationDeps } from './deps.ts';
import { exportJob, exportStep } from './export/export.ts';
import { importStep } from './import/import.ts';
import { importJob } from './import/request.ts';
import { compareJob, verifyImportStep } from './import/verify.ts';
import { applyRetentionStep, retentionJob } from './lifecycle/apply-retention.ts';
import { dropDatasetJob, dropDatasetStep, dropTableJob, dropTableStep } from './lifecycle/drop.ts';
import { changeJob, changeRows } from './row-changes/change-rows.ts';
import { mirrorStep } from './takeover/mirror.ts';
import { mirrorJob } from './takeover/mirror-progress.ts';
import { notifyJob, notifyStep } from './webhooks/notify.ts';

const changeHandler = handleJob(changeJob, changeRows);

/** The steps of all jobs but those of the layers above. */
export const jobHandlers: Omit<JobHandlers<OperationDeps>, 'alert'> = {
  'delete-rows': changeHandler,
  'correct-rows': changeHandler,
  'drop-table': handleJob(dropTableJob, dropTableStep),
  'drop-dataset': handleJob(dropDatasetJob, dropDatasetStep),
  'apply-retention': handleJob(retentionJob, applyRetentionStep),
  backup: handleJob(backupJob, backupStep),
  restore: handleJob(restoreJob, restoreStep),
  export: handleJob(exportJob, exportStep),
  notify: handleJob(notifyJob, notifyStep),
  import: handleJob(importJob, importStep),
  compare: handleJob(compareJob, verifyImportStep),
  mirror: handleJob(mirrorJob, mirrorStep),
};
