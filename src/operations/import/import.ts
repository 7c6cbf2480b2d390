import { type ImportSeal, publishImport } from '../../buffer/seal-import.ts';
import { createTable } from '../../catalog/create-table.ts';
import { ensureTable } from '../../catalog/ensure-table.ts';
import { evolveSchema } from '../../catalog/evolve-schema.ts';
import { readTable } from '../../catalog/find-table.ts';
import { readLives } from '../../catalog/life.ts';
import { manifestStatements } from '../../catalog/manifest-outbox.ts';
import { addColumnsAt, requireTypes } from '../../catalog/table-ddl.ts';
import { assertDefined } from '../../core/assert.ts';
import { ApiError } from '../../core/errors.ts';
import { flushSnapshot, readFlushPositions } from '../../flush/flush-snapshot.ts';
import { writeHeartbeat } from '../../flush/heartbeat.ts';
import { countSeal } from '../../flush/row-count.ts';
import { readTimeRange } from '../../query/request/parse.ts';
import { mergeSchema } from '../../schema/declared.ts';
import type { Table } from '../../schema/table.ts';
import { notWritable } from '../../schema/table-state.ts';
import type { OperationNode, OperationStep } from '../deps.ts';
import { type Chunk, moveChunk, planChunks, type Source } from './chunks.ts';
import { keepMissing } from './column-mapping.ts';
import { buildDeclared, orRestart, plannedTable, readNext } from './read-objects.ts';
import {
  type ImportJob,
  type ImportOutcome,
  type ImportRequest,
  type importJob,
  type Progress,
  requireNotDeleting,
} from './request.ts';
import { buildImportManifest, chooseSeal, takeSeal } from './sequences.ts';
import {
  addStagingFields,
  atStaging,
  dropStaging,
  rangeSql,
  requireRetained,
  requireWhole,
  stagedSql,
  stagingName,
} from './staging.ts';
import { describeFirst, wrongRows } from './wrong-rows.ts';

const poll_ms = 1_000;

/**
 * Imports objects into a table. First reads all of them into a staging table and checks every row. Then moves the rows into
 * the table in chunks, under sequences of a separate lane. Readers see the rows only when all sequences are published at
 * once. Each step may be killed at any point, run twice, or run twice at the same time.
 */
export const importStep: OperationStep<typeof importJob> = async (ctx, job, deadline_ms) => {
  // The invalid rows of an earlier failure are not of this attempt.
  const { wrong: _, rows: __, ...progress } = job.progress;
  const node = atStaging(ctx, job.id, progress.staging);
  const next = () => nextStep(node, job, progress, deadline_ms);
  // An import with sequences has only valid rows, so it does not restart.
  return progress.seal === undefined ? await orRestart(node, progress, { lives: progress.lives }, next) : await next();
};

async function nextStep(
  node: OperationNode,
  job: ImportJob,
  progress: Progress,
  deadline_ms: number,
): Promise<ImportOutcome> {
  const { request } = job;
  const table = await readTable(node, job.dataset, job.table);
  if (await isForAnotherLife(node, job, progress, table)) {
    if (progress.staging !== undefined) await dropStaging(node, progress.staging);
    throw tableDeleted(job);
  }
  if (progress.read.length < request.objects.length) {
    const read = await readNext(node, job, request, table, progress, { deadline_ms });
    if (read !== undefined) return { progress: { ...progress, ...read } };
  }
  const staging = assertDefined(progress.staging, 'a finished read has a staging table');
  if (table === undefined || progress.life === undefined)
    return await prepare(node, job, request, table, progress, staging);
  const { kept } = progress;
  const range = rangeSql(table, readTimeRange(request));
  const source: Source = {
    staging: stagingName(staging),
    where: kept === undefined ? `${stagedSql(progress.staged)} ${range}` : stagedSql([kept]),
  };
  if (request.missingOnly && kept === undefined)
    return await keepMissingRows(node, table, progress, source, deadline_ms);
  if (progress.chunks === undefined) {
    await requireWhole(node, source.staging, kept === undefined ? progress.staged : [kept]);
    await requireRetained(node, table, source);
    return { progress: { ...progress, chunks: await planChunks(node, table, source) } };
  }
  if (progress.chunks.length === 0) return await finishEmpty(node, progress, staging);
  if (progress.seal === undefined) {
    const chosen = await chooseSeal(node, job, table, progress.chunks.length);
    return chosen === undefined ? { progress, wait_ms: poll_ms } : { progress: { ...progress, ...chosen } };
  }
  const taken = await takeSeal(node, table, progress.seal, progress, deadline_ms);
  if (taken === 'later') return { progress, wait_ms: poll_ms };
  if (taken === 'lost') {
    const { seal: _, ...rest } = progress;
    return { progress: { ...rest, isTaken: false }, wait_ms: poll_ms };
  }
  // Recorded before the first row is moved: an instance that creates the lane again must hide these sequences.
  if (!progress.isTaken) return { progress: { ...progress, isTaken: true } };
  if (progress.moved < progress.chunks.length) {
    return await move(node, table, progress, source, progress.seal, progress.chunks, deadline_ms);
  }
  if (progress.latest_ms === undefined) {
    const counted = await countSeal(node, table, progress.seal.lane, {
      ...progress.seal,
      batches: [{ receivedAt_ms: progress.receivedAt_ms }],
    });
    const latest_ms = Math.max(0, ...counted.map((part) => part.timeTo_ms));
    const manifest = buildImportManifest(table, progress.seal, counted, progress.chunks, node.now());
    // The manifest is recorded before the publication, so that an audit does not report the rows as unaccounted.
    return { progress: { ...progress, latest_ms }, alongside: manifestStatements([manifest]) };
  }
  return await publish(node, table, progress, progress.seal, progress.latest_ms, staging);
}

/** Whether the import belongs to an earlier life of its dataset or table, which has since been dropped. */
async function isForAnotherLife(
  node: OperationNode,
  { dataset, table: name }: ImportJob,
  { life, lives }: Progress,
  table: Table | undefined,
): Promise<boolean> {
  if (life !== undefined && (table?.life !== life || table.state === 'deleting')) return true;
  if (lives === undefined || table !== undefined)
    return table !== undefined && table.life !== (lives?.table ?? table.life);
  const now = await readLives(node, dataset, name);
  return now.table !== lives.table || now.dataset !== lives.dataset;
}

function tableDeleted({ dataset, table }: ImportJob): ApiError {
  return new ApiError('not-found', `Table ${table} of dataset ${dataset} was deleted before the import was done.`);
}

/** Fails the import if it has invalid rows. Otherwise creates the table or adds its missing fields. */
async function prepare(
  node: OperationNode,
  job: ImportJob,
  request: ImportRequest,
  found: Table | undefined,
  progress: Progress,
  staging: string,
): Promise<ImportOutcome> {
  const wrong = progress.staged.reduce((sum, each) => sum + each.wrong, 0);
  if (wrong > 0) {
    const planned = plannedTable(node, job, request, found, progress.fields);
    const isText = request.format !== 'parquet';
    const rows = isText ? progress.errors : await wrongRows(node, planned, staging, progress.staged, request.objects);
    await dropStaging(node, staging);
    return {
      failed: `${wrong} ${wrong === 1 ? 'row' : 'rows'} cannot be stored${describeFirst(rows)}. Nothing was imported.`,
      // A retry reads all objects again.
      progress: { lives: progress.lives, wrong, rows },
    };
  }
  let table = found;
  for (;;) {
    const declared = buildDeclared(request, progress.fields);
    const { schema, added } = mergeSchema(table?.schema, declared, node.config.limits);
    if (table === undefined) {
      table = await createTable(node, {
        dataset: job.dataset,
        name: job.table,
        window: 'day',
        lanes: 1,
        schema,
        lives: progress.lives,
      });
      continue;
    }
    if (table.life !== (progress.lives?.table ?? table.life)) throw tableDeleted(job);
    requireNotDeleting(table);
    if (added.length === 0) break;
    if (table.state !== 'active') throw notWritable(table.dataset, table.name, table.state);
    table = await evolveSchema(node, table, added);
  }
  await ensureTable(node, table, [...table.shards, node.shard]);
  await requireTypes(node, table);
  return { progress: { ...progress, life: table.life } };
}

/** Keeps only rows that the table does not have. First flushes all rows acknowledged by now. */
async function keepMissingRows(
  node: OperationNode,
  table: Table,
  progress: Progress,
  source: Source,
  deadline_ms: number,
): Promise<ImportOutcome> {
  const { until } = progress;
  if (until === undefined) return { progress: { ...progress, until: (await readFlushPositions(node, table)).until } };
  if (!(await flushSnapshot(node, table, until, deadline_ms))) return { progress };
  await requireWhole(node, source.staging, progress.staged);
  await addStagingFields(node, table, source.staging);
  const compared = table.schema.fields.filter(({ name }) => progress.read.every((names) => names.includes(name)));
  return { progress: { ...progress, kept: await keepMissing(node, table, source, compared, until) } };
}

async function finishEmpty(node: OperationNode, progress: Progress, staging: string): Promise<ImportOutcome> {
  await dropStaging(node, staging);
  const read = progress.staged.reduce((sum, each) => sum + each.rows, 0);
  return { done: { objects: progress.read.length, read, rows: 0 } };
}

async function move(
  node: OperationNode,
  table: Table,
  progress: Progress,
  source: Source,
  seal: ImportSeal,
  chunks: Chunk[],
  deadline_ms: number,
): Promise<ImportOutcome> {
  await addStagingFields(node, table, source.staging);
  await addColumnsAt(node, table);
  let { moved } = progress;
  do {
    const seq = seal.from + moved;
    const chunk = chunks[moved];
    if (chunk === undefined) break;
    const target = { lane: seal.lane, seq, token: `${seal.token}:${seq}`, receivedAt_ms: progress.receivedAt_ms };
    await moveChunk(node, table, source, chunk, chunks[moved + 1], target);
    moved += 1;
  } while (node.now() < deadline_ms);
  return { progress: { ...progress, moved } };
}

async function publish(
  node: OperationNode,
  table: Table,
  progress: Progress,
  seal: ImportSeal,
  latest_ms: number,
  staging: string,
): Promise<ImportOutcome> {
  const { receivedAt_ms } = progress;
  const received_ms = Array.from({ length: seal.to - seal.from + 1 }, () => receivedAt_ms);
  await writeHeartbeat(node, table, seal.lane, { from: seal.from, received_ms });
  const published = await publishImport(node, table, seal, { latest_ms, receivedAt_ms });
  if (published === 'fenced' || published === 'unknown') return { progress, wait_ms: poll_ms };
  await dropStaging(node, staging);
  const sum = (parts: { rows: number }[]) => parts.reduce((total, { rows }) => total + rows, 0);
  const { lane, from, to } = seal;
  return {
    done: {
      objects: progress.read.length,
      read: sum(progress.staged),
      rows: sum(progress.chunks ?? []),
      sequences: { lane, from, to },
    },
  };
}
