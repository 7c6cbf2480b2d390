/**
 * A copy of the configuration in the hot buffer, so that a minute without changes costs no statement in Postgres.
 *
 * A hash holds a mark for each dataset: the hash of the copy, or `dirty` and a time. Who changes the configuration sets the
 * dirty mark before its statement. Until that time, readers ask Postgres and keep nothing, because the statement may still
 * commit; after it, a reader keeps what Postgres says, unless the mark has changed meanwhile.
 *
 * @module
 */
import { hash } from 'node:crypto';
import * as z from 'zod';
import { inEachInstance } from '../core/instance-memory.ts';
import { LruMap } from '../core/lru-map.ts';
import { checkRows } from '../stores/check-rows.ts';
import { ask, askInTurn, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { MonitoringDeps } from './deps.ts';
import keepConfigLua from './lua/keep-config.lua';
import { type ConfigRow, configOf, type MonitorConfig, readConfigRow } from './resources/store.ts';

const keepScript = script(keepConfigLua);

/** The member of the hash that says that it lists every monitored dataset. No dataset has this name. */
const listed = '';

/** Parsed configurations of this instance, with the marks of their copies: a later life of a dataset repeats revisions. */
const parsed = inEachInstance(() => new LruMap<{ mark: string; config: MonitorConfig }>(20));

const dirtyMark = /^dirty (?<until_ms>\d+) /;

const datasetRow = z.object({ dataset: z.string() });

/** The datasets that have been monitored, each with the mark of its configuration. Throws StoreError. */
export async function monitoredDatasets(ctx: MonitoringDeps): Promise<Map<string, string>> {
  const marks = await readMarks(ctx);
  if (!marks.has(listed)) {
    const rows = await ctx.postgres.rows('select dataset from monitor_datasets where buffer = $buffer', {
      buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    });
    const missing = checkRows(datasetRow, rows).filter(({ dataset }) => !marks.has(dataset));
    const names = [...missing.map(({ dataset }) => dataset), listed];
    await askInTurn(
      ctx.redis,
      names.map((name) => ['HSETNX', ctx.keys.monitorMarks, name, name === listed ? '1' : 'dirty 0 ']),
    );
    return await readMarks(ctx).then(withoutListed);
  }
  return withoutListed(marks);
}

async function readMarks(ctx: MonitoringDeps): Promise<Map<string, string>> {
  const [reply] = await askInTurn(ctx.redis, [['HGETALL', ctx.keys.monitorMarks]]);
  const flat = z.array(z.string()).parse(reply);
  return new Map(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : [])));
}

function withoutListed(marks: Map<string, string>): Map<string, string> {
  return new Map([...marks].filter(([dataset]) => dataset !== listed));
}

/**
 * The configuration of a dataset, which is never older than its last change.
 *
 * @param seen its mark, from `monitoredDatasets`; without it, the hot buffer is asked
 * @throws StoreError
 */
export async function currentConfig(ctx: MonitoringDeps, dataset: string, seen?: string): Promise<MonitorConfig> {
  const mark = seen ?? (await ask(() => ctx.redis.hget<string>(ctx.keys.monitorMarks, dataset))) ?? '';
  const { until_ms } = dirtyMark.exec(mark)?.groups ?? {};
  if (mark !== '' && until_ms === undefined) {
    const known = parsed(ctx).get(dataset);
    if (known?.mark === mark) return known.config;
    const copy = await ask(() => ctx.redis.get<string>(ctx.keys.monitorConfig(dataset)));
    if (copy !== null && markOf(copy) === mark) {
      const config = configOf(JSON.parse(copy) as ConfigRow);
      parsed(ctx).set(dataset, { mark, config });
      return config;
    }
  }
  const row = await readConfigRow(ctx, dataset);
  const isSettled = until_ms === undefined || Number(until_ms) < ctx.now();
  if (isSettled) {
    const copy = row.revision === 0 ? '' : JSON.stringify(row);
    await runScript(
      ctx.redis,
      keepScript,
      { marks: ctx.keys.monitorMarks, copy: ctx.keys.monitorConfig(dataset) },
      { dataset, seen: mark, mark: markOf(copy), config: copy },
    );
  }
  return configOf(row);
}

function markOf(copy: string): string {
  return hash('sha256', copy);
}
