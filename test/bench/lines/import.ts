import { askLong, objectFunction, writeObject } from '../../../src/catalog/object-table.ts';
import type { Context } from '../../../src/create-context.ts';
import { type Job, readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { exportFormats } from '../../../src/operations/export/day.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { type Figure, figure, median } from '../figures.ts';
import type { Scale } from '../scale.ts';
import { createPeerTable, dataset } from '../tables.ts';
import type { World } from '../world.ts';

const columns = `timestamp DateTime64(3, 'UTC'), device String, celsius Float64, n Float64`;
const values = `toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number AS timestamp, concat('s', toString(number % 100)) AS device,
  (sipHash64(number) % 100000) / 1000 AS celsius, toFloat64(number) AS n`;
const rounds = 2;

/**
 * Line 11: an import with every safety step beside a bare `INSERT … SELECT` of ClickHouse from the same object, which is not
 * checked, goes in by parts that readers see, and twice when it is sent twice; then the comparison of all its rows.
 */
export async function measureImport({ ctx: loud }: World, { exportRows }: Scale): Promise<Figure[]> {
  const ctx = { ...loud, log: () => undefined };
  const peer = await createPeerTable(ctx, 'imported');
  const figures: Figure[] = [];
  for (const format of ['parquet', 'csv', 'ndjson'] as const) {
    const key = `imports/bench.${format}`;
    const object = objectFunction(ctx, key, exportFormats[format].clickhouse);
    const settings = { param__columns: columns, date_time_output_format: 'iso', date_time_input_format: 'best_effort' };
    await writeObject(ctx, object, `SELECT ${values} FROM numbers(${exportRows})`, settings);
    const [imports, inserts, compares]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < rounds; round += 1) {
      const table = `bench_${format}_${round}`;
      const perSecond = async (work: () => Promise<unknown>) => {
        const from = performance.now();
        await work();
        return (exportRows * 1000) / (performance.now() - from);
      };
      const names = 'timestamp, device, celsius, n';
      const insert = `INSERT INTO ${peer} (${names}) SELECT ${names} FROM ${object}`;
      inserts.push(await perSecond(() => askLong(ctx, insert, settings)));
      const request = { format, objects: [key] };
      imports.push(
        await perSecond(async () => whenDone(ctx, await scheduleImport(ctx, dataset, table, request, undefined))),
      );
      compares.push(
        await perSecond(async () =>
          whenDone(ctx, await scheduleImportVerification(ctx, dataset, table, request, undefined)),
        ),
      );
    }
    const ratios = imports.map((speed, i) => speed / (inserts[i] ?? Number.NaN));
    const detail = `${thousands(imports)} against ${thousands(inserts)} rows/s`;
    figures.push(
      figure(
        11,
        `import of ${exportRows.toLocaleString('en')} rows of ${format}: rows/s against a bare insert`,
        'x',
        ratios,
        { detail },
      ),
      figure(11, `comparison of as many: ${format}`, 'rows/s', compares),
    );
  }
  return figures;
}

const thousands = (speeds: number[]) => Math.round(median(speeds)).toLocaleString('en');

async function whenDone(ctx: Context, { id }: Job): Promise<void> {
  for (;;) {
    const { state, error } = await readJob(ctx, id);
    if (state === 'done') return;
    if (state === 'failed') throw new Error(error ?? 'the job has failed');
    await runDueJobs(ctx, jobHandlers, ctx.now() + 60_000);
  }
}
