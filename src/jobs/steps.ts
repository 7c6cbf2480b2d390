import { backupStep } from '../backup/backup.ts';
import { restoreStep } from '../backup/restore.ts';
import { exportStep } from '../export/export.ts';
import { compareStep } from '../import/compare.ts';
import { importStep } from '../import/import.ts';
import { mirrorStep } from '../migration/mirror.ts';
import { notifyStep } from '../webhooks/notify.ts';
import { applyRetentionStep } from './apply-retention.ts';
import { changeRows } from './change-rows.ts';
import { dropDatasetStep, dropTableStep } from './drop.ts';
import type { Steps } from './work.ts';

export const jobSteps: Steps = {
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
  compare: compareStep,
  mirror: mirrorStep,
};
