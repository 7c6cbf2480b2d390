import type { JobHandlers } from '../jobs/runner.ts';
import { backupStep } from './backup/backup.ts';
import { restoreStep } from './backup/restore.ts';
import type { OperationDeps } from './deps.ts';
import { exportStep } from './export/export.ts';
import { importStep } from './import/import.ts';
import { verifyImportStep } from './import/verify.ts';
import { applyRetentionStep } from './lifecycle/apply-retention.ts';
import { dropDatasetStep, dropTableStep } from './lifecycle/drop.ts';
import { changeRows } from './row-changes/change-rows.ts';
import { mirrorStep } from './takeover/mirror.ts';
import { notifyStep } from './webhooks/notify.ts';

/** The steps of all jobs but those of the layers above. */
export const jobHandlers: Omit<JobHandlers<OperationDeps>, 'alert'> = {
  'delete-rows': changeRows,
  'correct-rows': changeRows,
  'drop-table': dropTableStep,
  'drop-dataset': dropDatasetStep,
  'apply-retention': applyRetentionStep,
  backup: backupStep,
  restore: restoreStep,
  export: exportStep,
  notify: notifyStep,
  import: importStep,
  compare: verifyImportStep,
  mirror: mirrorStep,
};
