/**
 * Takes one rule after the other out of the real code, in a copy, and looks which tests notice. A rule that no test
 * misses is not tested.
 *
 *   npm run test:mutations [-- --only words]
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** `suite`: where it is noticed first, if not among all. */
type Mutation = { rule: string; file: string; from: string; to: string; suite?: string };

const mutations: Mutation[] = [
  {
    rule: 'reads of Cloud see what other replicas have stored',
    file: 'src/clickhouse/kind.ts',
    from: 'const cloudSettings: Settings = { select_sequential_consistency: 1 };',
    to: 'const cloudSettings: Settings = {};',
    suite: 'test/integration/clickhouse/cloud.test.ts',
  },
  {
    rule: 'what a replica of Cloud knows by itself is asked of all of them',
    file: 'src/clickhouse/kind.ts',
    from: "return kind === 'cloud' ? `",
    to: "return kind === 'server' && table === 'system.one' ? `",
    suite: 'test/integration/clickhouse/cloud.test.ts',
  },
  {
    rule: 'partitions of Cloud are those of the rows, not those that a replica has heard of',
    file: 'src/clickhouse/partitions.ts',
    from: "=== 'cloud';",
    to: "=== 'server' && false;",
    suite: 'test/integration/clickhouse/cloud.test.ts',
  },
  {
    rule: 'tokens of inserts are kept on Cloud for as long as a function that holds a seal sleeps',
    file: 'src/clickhouse/table.ts',
    from: "if (kind === 'server' && !cluster?.isReplicated) return",
    to: 'if (kind !== undefined && !cluster?.isReplicated) return',
    suite: 'test/integration/clickhouse/cloud.test.ts',
  },
  {
    rule: 'the name of an object has no part that could be folded',
    file: 'src/import/read-objects.ts',
    from: 'const part = String.raw`\\.*[A-Za-z0-9_=@:,+-]',
    to: 'const part = String.raw`[A-Za-z0-9_.=@:,+-]',
    suite: 'test/integration/http/text.test.ts',
  },
  {
    rule: 'a seal and a tail come in replies that the hosted buffer gives',
    file: 'src/buffer/redis.ts',
    from: 'return Math.floor(redis_wire_bytes_max / 2);',
    to: 'return 100 * redis_wire_bytes_max;',
    suite: 'test/integration/buffer/wire.test.ts',
  },
  {
    rule: 'a page of a seal is read only while the seal is there',
    file: 'src/buffer/seal-page.lua',
    from: "if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return {'published'} end",
    to: '',
    suite: 'test/integration/buffer/wire.test.ts',
  },
  {
    rule: 'a flush takes no more of what was said of batches than a manifest may have',
    file: 'src/buffer/seal.lua',
    from: ' or said > tonumber(ARGV[10]))',
    to: ')',
    suite: 'test/integration/buffer/wire.test.ts',
  },
  {
    rule: 'a seal of larger limits is published with what its manifest may have',
    file: 'src/flush/manifest.ts',
    from: 'if (bytes > bytesMax && said.length > 0) break;',
    to: '',
    suite: 'test/integration/buffer/wire.test.ts',
  },
  {
    rule: 'what batches take beside their rows counts in the log of a lane',
    file: 'src/buffer/stage.lua',
    from: 'pendingBytes + 256 * (',
    to: 'pendingBytes + 0 * (',
    suite: 'test/integration/buffer/wire.test.ts',
  },
  {
    rule: 'the outbox is bounded by its bytes',
    file: 'src/buffer/publish.lua',
    from: ' and newest - oldest + #ARGV[3] <= tonumber(ARGV[7])',
    to: '',
    suite: 'test/integration/flush/outbox.test.ts',
  },
  {
    rule: 'manifests are drained in replies that the hosted buffer gives',
    file: 'src/flush/outbox-page.lua',
    from: ' or (#answer > 1 and room < 0)',
    to: '',
    suite: 'test/integration/flush/outbox.test.ts',
  },
  {
    rule: 'a stored row is known by when its batch was acknowledged, not by its sequence alone',
    file: 'src/flush/insert.ts',
    from: '(_seq, _row, _received_at) NOT IN (SELECT _seq, _row, _received_at FROM',
    to: '(_seq, _row) NOT IN (SELECT _seq, _row FROM',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'the rows of a seal are counted, not those that another batch had under its sequence',
    file: 'src/flush/count.ts',
    from: "  const received = 'toUnixTimestamp64Milli(_received_at)';",
    to: "  if (times.length > 0) return '1 = 1';\n  const received = 'toUnixTimestamp64Milli(_received_at)';",
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'an insert adds nothing while one under another token runs',
    file: 'src/flush/insert.ts',
    from: '!= {token:String}) = 0`;',
    to: '!= {token:String}) >= 0`;',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'an insert of a seal that was found complete adds nothing',
    file: 'src/flush/heartbeat.ts',
    from: "{received:Int64}, 'UTC')) = 0`;",
    to: "{received:Int64}, 'UTC')) >= 0`;",
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'a seal that was found complete is published, whatever was deleted since',
    file: 'src/flush/move-seal.ts',
    from: 'return found?.unfinished === 0;',
    to: 'return found === undefined;',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'rows set aside are known by when their batch was acknowledged',
    file: 'src/flush/insert.ts',
    from: '(_seq, _row, _received_at) NOT IN (SELECT seq, row, received_at FROM timestore.skipped_rows',
    to: '(_seq, _row) NOT IN (SELECT seq, row FROM timestore.skipped_rows',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'a read that is not fenced asks what ClickHouse has beyond the watermark',
    file: 'src/query/exact.ts',
    from: '    !beyond.includes(true) &&\n',
    to: '',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'a token of a batch that the buffer has forgotten, or has replaced, is lost',
    file: 'src/query/stale.ts',
    from: "    if (isForgotten || knownAs(lane, mark) === 'other') return lost;\n",
    to: '',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'ClickHouse tells whether a token was overtaken that the buffer knows nothing of any more',
    file: 'src/query/cut.ts',
    from: 'return isLost ? { kind',
    to: 'return isLost === undefined ? { kind',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'what the buffer has forgotten and ClickHouse has in full shows again',
    file: 'src/flush/catch-up.ts',
    from: 'if (!(await advanceLane(ctx, table, lane, end))) continue;',
    to: 'if (end.watermark > 0) continue;',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'an audit shows imports again that the buffer has forgotten',
    file: 'src/audit/audit-table.ts',
    from: 'const imports = await showHiddenImports(ctx, table);',
    to: 'const imports: string[] = [];',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'rows are deleted when no insert runs that could bring them again',
    file: 'src/jobs/change-rows.ts',
    from: 'if (await areInsertsRunning(ctx, table, progress)) return',
    to: 'if (progress.until.length < 0) return',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'no epoch comes again after a failover',
    file: 'src/buffer/seal.lua',
    from: 'math.max(tonumber(state[4]) + 1, now)',
    to: 'tonumber(state[4]) + 1',
    suite: 'test/faults/failover.test.ts',
  },
  {
    rule: 'text that no store keeps is refused in a body',
    file: 'functions/body.ts',
    from: '  if (mayHaveProblems(text)) requireText(body, options);\n',
    to: '',
    suite: 'test/integration/http/text.test.ts',
  },
  {
    rule: 'text that no store keeps is refused beside the rows of a batch',
    file: 'src/ingest/batch-form.ts',
    from: '  requireText(rest);\n',
    to: '',
    suite: 'test/integration/http/text.test.ts',
  },
  {
    rule: 'text that no store keeps is refused in an address',
    file: 'functions/worker.ts',
    from: 'app.use(textInUrl);\n',
    to: '',
    suite: 'test/integration/http/text.test.ts',
  },
  {
    rule: 'a refused access that cannot be recorded holds up no other',
    file: 'src/audit-log/refusals.ts',
    from: 'const refused = await recordPast(lines, record);',
    to: 'const refused: Line[] = [];\n      await record(lines);',
    suite: 'test/integration/http/text.test.ts',
  },
  {
    rule: 'the audit log does not depend on what somebody writes into an address',
    file: 'src/audit-log/refusals.ts',
    from: "slugPattern.test(refusal.dataset ?? '') ? refusal.dataset : undefined",
    to: 'refusal.dataset',
    suite: 'test/integration/http/text.test.ts',
  },
  {
    rule: 'text of users in jobs is written so that Postgres takes it',
    file: 'src/postgres/jsonb.ts',
    from: "if (!text.includes('\\\\u')) return text;",
    to: 'if (text.length > 0) return text;',
    suite: 'test/integration/jobs/text.test.ts',
  },
  {
    rule: 'a comparison whose rows were dropped before its record reads them anew',
    file: 'src/import/read-objects.ts',
    from: 'if (mayBeGone && staging !== undefined',
    to: 'if (false && staging !== undefined',
    suite: 'test/integration/jobs/text.test.ts',
  },
  {
    rule: 'a manifest that Postgres refuses holds up no other',
    file: 'src/postgres/record-past.ts',
    from: 'if (!(error instanceof RefusedError)) throw error;',
    to: 'if (error !== undefined) throw error;',
    suite: 'test/integration/flush/outbox.test.ts',
  },
  {
    rule: 'what Postgres refuses for its values is told apart from what may pass',
    file: 'src/postgres/client.ts',
    from: 'if (refused && ofValues.test(code))',
    to: 'if (refused)',
    suite: 'test/integration/flush/outbox.test.ts',
  },
  {
    rule: 'a lane that an instance does not know is looked up before anything is asked of its rows',
    file: 'src/query/cut.ts',
    from: 'ctx.cluster !== undefined && table.shards.length < lanes.length',
    to: 'table.shards.length < 0',
    suite: 'test/cluster',
  },
  {
    rule: 'rows of a lane are looked for and stored on its shard',
    file: 'src/clickhouse/cluster.ts',
    from: '  if (seen !== undefined) return atShard(ctx, seen);',
    to: '  if (seen !== undefined) return atShard(ctx, ctx.cluster === undefined ? 1 : 1 + (lane % ctx.cluster.shards.length));',
    suite: 'test/cluster',
  },
  {
    rule: 'a node says which shard it is before it takes anything',
    file: 'src/clickhouse/nodes.ts',
    from: '  if (found?.number === number) return;',
    to: '  if (number > 0) return;',
    suite: 'test/cluster',
  },
  {
    rule: 'a node asks as many shards as there are',
    file: 'src/clickhouse/nodes.ts',
    from: '  if (Number(found?.shards) >= highest) return;',
    to: '  if (highest > 0) return;',
    suite: 'test/cluster',
  },
  {
    rule: 'a pass goes on without the lanes of a shard that is away',
    file: 'src/flush/flush-due.ts',
    from: 'away.size < (ctx.cluster?.shards.length ?? 1)',
    to: 'away.size < 1',
    suite: 'test/cluster',
  },
  {
    rule: 'fields reach a shard before rows of a replay are tried there',
    file: 'src/quarantine/replay.ts',
    from: '  await addColumnsAt(at, table);\n',
    to: '',
    suite: 'test/cluster',
  },
  {
    rule: 'an import goes on when the table has got fields since',
    file: 'src/import/import.ts',
    from: '  await addStagingFields(at, table, source.staging);\n  await addColumnsAt(at, table);\n  let { moved }',
    to: '  let { moved }',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'an import has its sequences before any of its rows is in the table',
    file: 'src/import/sequences.ts',
    from: '  const { outcome, watermark = 0 } = await sealImport(at, table, seal);',
    to: "  const { outcome, watermark = 0 } = latest_ms === undefined ? { outcome: 'sealed' as const } : await sealImport(at, table, seal);",
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'an insert of an import asks which rows are there',
    file: 'src/import/chunks.ts',
    from: 'AND _n NOT IN (SELECT _row FROM',
    to: 'AND (1 OR _n) NOT IN (SELECT 2 FROM',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'a chunk of an import is counted',
    file: 'src/import/chunks.ts',
    from: 'if (found === chunk.rows) return;',
    to: 'return;',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'rows of a try to read an object that was given up do not count',
    file: 'src/import/staging.ts',
    from: 'return `_attempt IN (',
    to: "if (staged.length > 0) return '1';\n  return `_attempt IN (",
    suite: 'test/faults/crash-points/import.test.ts',
  },
  {
    rule: 'a lane that is set up again has the import it had',
    file: 'src/buffer/set-up.ts',
    from: 'importing?.lane === lane ? [importing.from, importing.to, importing.token, importing.id]',
    to: 'importing?.lane === -1 ? [importing.from, importing.to, importing.token, importing.id]',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'writers stay off the lane of an import',
    file: 'src/buffer/change-lanes.lua',
    from: 'if state[3] and tonumber(writers) > tonumber(state[3])',
    to: 'if false',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'an object is the same all the time that it is read',
    file: 'src/import/read-object.ts',
    from: ' WHERE _changed = 0',
    to: '',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'nothing of an import that is refused is in the catalogue',
    file: 'src/import/import.ts',
    from: '  if (wrong > 0) {',
    to: '  if (false) {',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'a flush leaves the lane of an import alone',
    file: 'src/buffer/seal.lua',
    from: "if state[14] then return {'empty'} end",
    to: '',
    suite: 'test/integration/jobs/import.test.ts',
  },
  {
    rule: 'a comparison counts rows that are equal',
    file: 'src/import/against-table.ts',
    from: 'own?.hash === theirs?.hash && own?.rows === theirs?.rows',
    to: 'own?.columns.every((each, i) => each[4] === theirs?.columns[i]?.[4]) === true',
    suite: 'test/integration/jobs/compare.test.ts',
  },
  {
    rule: 'of rows that are equal an import of what is missing brings as many as are',
    file: 'src/import/against-table.ts',
    from: 'row_number() OVER (PARTITION BY h ORDER BY _object, _place) AS n',
    to: '1 AS n',
    suite: 'test/integration/jobs/compare.test.ts',
  },
  {
    rule: 'an export is of one moment',
    file: 'src/export/export.ts',
    from: 'days[day]?.rows !== rows || days[day]?.checksum !== checksum',
    to: 'days[day] === undefined',
    suite: 'test/integration/jobs/export.test.ts',
  },
  {
    rule: 'an export has nothing that came after it',
    file: 'src/export/day.ts',
    from: 'const conditions = [untilSql(until)];',
    to: "const conditions = ['1'];",
    suite: 'test/integration/jobs/export.test.ts',
  },
  {
    rule: 'rows after a token are those of later sequences',
    file: 'src/query/rows.ts',
    from: '_seq > {_a',
    to: '_seq >= {_a',
    suite: 'test/integration/query/follow.test.ts',
  },
  {
    rule: 'a token that is gone on from must be there',
    file: 'src/query/freshness.ts',
    from: '{ minWatermark, min_watermark, afterWatermark });',
    to: '{ minWatermark, min_watermark });',
    suite: 'test/integration/query/follow.test.ts',
  },
  {
    rule: 'keys of a file’s rows are derived',
    file: 'src/cli/ingest/load.ts',
    from: '[1, table.dataset',
    to: '[Math.random(), table.dataset',
    suite: 'test/cli/ingest.test.ts',
  },
  {
    rule: 'the record before rows of a file are sent',
    file: 'src/cli/ingest/load.ts',
    from: 'await journal?.add({ start: batch.start, end: batch.end, hash: batch.hash, at: Date.now() });',
    to: '',
    suite: 'test/cli/ingest.test.ts',
  },
  {
    rule: 'a file that has changed is not gone on with',
    file: 'src/cli/ingest/load.ts',
    from: 'if (entry.hash !== batch.hash) throw',
    to: 'if (false) throw',
    suite: 'test/cli/ingest.test.ts',
  },
  {
    rule: 'rows of a file whose fate nobody knows are not sent again',
    file: 'src/cli/ingest/load.ts',
    from: '< remembered_ms && !forgets) return false;',
    to: '< Number.POSITIVE_INFINITY && !forgets) return false;',
    suite: 'test/cli/ingest.test.ts',
  },
  {
    rule: 'the first rows of a load go before the others',
    file: 'src/cli/ingest/load.ts',
    from: 'if (this.#isFirst) await sending;',
    to: '',
    suite: 'test/cli/ingest.test.ts',
  },
  {
    rule: 'a client forgets what the server has lost',
    file: 'src/client/watermarks.ts',
    from: 'this.#tokens.delete(table);',
    to: 'void table;',
    suite: 'test/integration/client/client.test.ts',
  },
  {
    rule: 'the count before publishing',
    file: 'src/flush/move-seal.ts',
    from: 'if (rows === expected) return',
    to: 'if (rows >= 0) return',
  },
  {
    rule: 'the question within the insert',
    file: 'src/flush/insert.ts',
    from: 'AND _seq BETWEEN {from:UInt64} AND {to:UInt64})\n  AND',
    to: 'AND _seq BETWEEN {from:UInt64} AND {to:UInt64} AND 0)\n  AND',
  },
  {
    rule: 'the token, and with it the question',
    file: 'src/flush/insert.ts',
    from: "insert_deduplicate: 1,\n  deduplicate_insert_select: 'force_enable',",
    to: "insert_deduplicate: 0,\n  deduplicate_insert_select: 'disable',",
  },
  {
    rule: 'repair tokens',
    file: 'src/flush/insert.ts',
    from: 'attempt === 0 ? seal.token',
    to: 'attempt >= 0 ? seal.token',
  },
  {
    rule: 'starting over at the first token after an error',
    file: 'src/flush/move-seal.ts',
    from: 'for (let attempt = 0;',
    to: 'for (let attempt = Math.floor(Math.random() * 3);',
  },
  {
    rule: 'the seal in publish',
    file: 'src/buffer/publish.lua',
    from: 'if state[2] ~= ARGV[1] or state[3] ~= ARGV[2] then',
    to: 'if false then',
  },
  {
    rule: 'taking a stored seal over',
    file: 'src/buffer/seal.lua',
    from: 'if state[7] then',
    to: 'if false then',
  },
  {
    rule: 'trimming exactly',
    file: 'src/buffer/publish.lua',
    from: "string.format('%.0f-0', to + 1))\n\nlocal first",
    to: "string.format('%.0f-0', to + 2))\n\nlocal first",
  },
  {
    rule: 'remembering the key',
    file: 'src/buffer/stage.lua',
    from: 'if known then',
    to: 'if false then',
  },
  {
    rule: 'absent state is unknown',
    file: 'src/buffer/stage.lua',
    from: "if not inc or not lanes[1] then return {'unknown'} end",
    to: "if not inc then inc = 'made-up'; state = {inc, 0, 0, 0, false, false, false, 1} end; lanes = {given[18], given[18]}",
  },
  {
    rule: 'one expiry for all chunks',
    file: 'src/buffer/stage.lua',
    from: 'local ends = tonumber(given[16]) or now + life',
    to: 'local ends = now + life',
  },
  {
    rule: 'the stored plan of chunks',
    file: 'src/ingest/stage-chunks.ts',
    from: "if (begun.outcome === 'replayed' && encodePlan",
    to: "if (begun.outcome !== 'replayed' && encodePlan",
  },
  {
    rule: 'the fence while a seal is there',
    file: 'src/query/exact.ts',
    from: 'lanes.filter((lane) => lane.sealedTo !== undefined) }))',
    to: 'lanes.filter((lane) => lane.sealedTo === -1) }))',
    suite: 'test/integration/query/query.test.ts',
  },
  {
    rule: 'the comparison after a read',
    file: 'src/query/exact.ts',
    from: 'if (answer !== undefined && (await areUnchanged(ctx, cuts, open)))',
    to: 'if (answer !== undefined)',
    suite: 'test/integration/query/query.test.ts',
  },
  {
    rule: 'a read that cannot be validated is fenced',
    file: 'src/query/exact.ts',
    from: 'if (!(error instanceof StoreError || error instanceof ClickHouseError)) throw error;',
    to: 'if (error !== undefined) throw error;',
    suite: 'test/integration/query/freshness.test.ts',
  },
  {
    rule: 'comparing the skip list in publish',
    file: 'src/buffer/publish.lua',
    from: "if (state[15] or '') ~= ARGV[6] then",
    to: 'if false then',
  },
  {
    rule: 'recording the skip list for the holder of the seal only',
    file: 'src/buffer/skip.lua',
    from: 'if current ~= ARGV[3] then',
    to: 'if false then',
  },
  {
    rule: 'looking for skipped rows that are stored',
    file: 'src/flush/move-seal.ts',
    from: 'const stored = seal.skip.size === 0 ?',
    to: 'const stored = seal.skip.size >= 0 ?',
  },
  {
    rule: 'leaving out of every insert what was set aside',
    file: 'src/flush/insert.ts',
    from: 'AND lane = {lane:UInt16} AND seq BETWEEN',
    to: 'AND lane = {lane:UInt16} AND 0 AND seq BETWEEN',
  },
  {
    rule: 'a seal is published also when the buffer is at its memory limit',
    file: 'src/buffer/publish.lua',
    from: '#!lua flags=allow-oom\n',
    to: '',
    suite: 'test/integration/buffer/memory.test.ts',
  },
  {
    rule: 'rows that ClickHouse refuses are set aside also when the buffer is at its memory limit',
    file: 'src/buffer/stage.ts',
    from: 'request.isRelief ? reliefScript : stageScript',
    to: 'stageScript',
    suite: 'test/integration/buffer/memory.test.ts',
  },
  {
    rule: 'no chunk is staged once its request may be forgotten',
    file: 'src/buffer/stage.lua',
    from: "if given[16] ~= '' and now + tonumber(given[21]) >= tonumber(given[16]) then return {'expired'} end",
    to: '',
    suite: 'test/integration/ingest/chunks.test.ts',
  },
  {
    rule: 'a request that was cut is not completed in the last moments of its key',
    file: 'src/ingest/stage-chunks.ts',
    from: 'begun.left_ms <= request_ms',
    to: 'begun.left_ms < 0',
    suite: 'test/integration/ingest/chunks.test.ts',
  },
  {
    rule: 'the keys of a dataset take no more than they may',
    file: 'src/buffer/stage.lua',
    from: 'local isOver = keyBytes >= tonumber(given[23])',
    to: 'local isOver = false',
    suite: 'test/integration/buffer/memory.test.ts',
  },
  {
    rule: 'waiting before rows in quarantine are sent again',
    file: 'src/quarantine/replay.ts',
    from: 'const late = await stillOnTheirWay(',
    to: 'const late: OpenRecord[] = [] || await stillOnTheirWay(',
  },
  {
    rule: 'setting rows aside before they leave the buffer',
    file: 'src/flush/flush-lane.ts',
    from: 'if (seal.skip.size > 0) await',
    to: 'if (seal.skip.size < 0) await',
  },
  {
    rule: 'holding only refused values against rows',
    file: 'src/flush/refusal.ts',
    from: 'error instanceof ClickHouseError && dataCodes.has(error.code)',
    to: 'error instanceof ClickHouseError',
  },
  {
    rule: 'one number of lanes for all writers',
    file: 'src/buffer/stage.lua',
    from: 'if lanes[1] ~= given[18] then',
    to: 'if false then',
  },
  {
    rule: 'a tail that was kept is of the same log',
    file: 'src/buffer/snapshot.lua',
    from: 'if last and fieldsOf(last).id == ARGV[2 * lane + 4] then',
    to: 'if last then',
  },
  {
    rule: 'one number of lanes for all readers',
    file: 'src/buffer/snapshot.lua',
    from: 'if tonumber(count[2]) ~= asked then',
    to: 'if false then',
  },
  {
    rule: 'no rows of lanes that came since',
    file: 'src/query/relation.ts',
    from: 'return fence.below === undefined ? conditions',
    to: 'return fence.below !== -1 ? conditions',
  },
  {
    rule: 'a key found whatever its lane',
    file: 'src/buffer/stage.ts',
    from: 'keys.idem(table, request.idempotencyKey)',
    to: "keys.idem(table, lane + ':' + request.idempotencyKey)",
  },
  {
    rule: 'waiting after a failure',
    file: 'src/buffer/seal.lua',
    from: "if ARGV[8] ~= '1' and state[12]",
    to: 'if false and state[12]',
  },
  {
    rule: 'draining the outbox before manifests are rebuilt',
    file: 'src/audit/audit-table.ts',
    from: 'await drainOutbox(ctx);',
    to: '',
  },
  {
    rule: 'defaults for rows of older versions',
    file: 'src/flush/payload.ts',
    from: '(field.since ?? 1) > schemaVersion',
    to: '(field.since ?? 1) > schemaVersion + 1_000',
  },
  {
    rule: 'a page’s tail no longer than its cut',
    file: 'src/query/cut.ts',
    from: 'lane.tail.filter((batch) => batch.seq <= seq)',
    to: 'lane.tail',
    suite: 'test/integration/query/pages.test.ts',
  },
  {
    rule: 'a page’s rows of ClickHouse no later than its cut',
    file: 'src/query/exact.ts',
    from: 'Math.min(seq, lanes[lane]?.watermark ?? 0)',
    to: 'lanes[lane]?.watermark ?? 0',
    suite: 'test/integration/query/pages.test.ts',
  },
  {
    rule: 'pages that end where stored rows were changed',
    file: 'src/query/query.ts',
    from: 'cut.changes === undefined || cut.changes !== cursor.changes',
    to: 'cut.changes === undefined',
    suite: 'test/integration/jobs/changed-pages.test.ts',
  },
  {
    rule: 'the comparison of stored rows after a page was read',
    file: 'src/query/unchanged-rows.ts',
    from: 'now.changes !== changes',
    to: 'now.changes === -1',
    suite: 'test/integration/jobs/changed-pages.test.ts',
  },
  {
    rule: 'no pages while stored rows are changed',
    file: 'src/buffer/snapshot.lua',
    from: 'count[3] and -1 or changes',
    to: 'changes',
    suite: 'test/integration/jobs/changed-pages.test.ts',
  },
  {
    rule: 'pages that end where a flush set a row aside',
    file: 'src/buffer/publish.lua',
    from: "if ARGV[6] ~= '' then redis",
    to: 'if false then redis',
    suite: 'test/integration/jobs/changed-pages.test.ts',
  },
  {
    rule: 'no mark by a job that has ended',
    file: 'src/buffer/mark-change.lua',
    from: ' or state[3] == ARGV[2]',
    to: '',
    suite: 'test/integration/jobs/changed-pages.test.ts',
  },
  {
    rule: 'the address of a webhook, at each delivery',
    file: 'src/webhooks/notify.ts',
    from: 'if (problem !== undefined)',
    to: 'if (problem === "")',
    suite: 'test/integration/jobs/notify.test.ts',
  },
  {
    rule: 'the address of a webhook, when it is made',
    file: 'src/webhooks/webhook.ts',
    from: 'if (problem !== undefined) throw',
    to: 'if (problem === "") throw',
    suite: 'test/integration/jobs/notify.test.ts',
  },
  {
    rule: 'the life of a lane in a token',
    file: 'src/query/stale.ts',
    from: 'lane.incarnation !== incarnation',
    to: 'false',
    suite: 'test/integration/query/freshness.test.ts',
  },
  {
    rule: 'the sequence in a token',
    file: 'src/query/stale.ts',
    from: 'if (reached(lane) < seq) isShort = true',
    to: 'if (reached(lane) < 0) isShort = true',
    suite: 'test/integration/query/freshness.test.ts',
  },
  {
    rule: 'that ClickHouse has nothing of the range, before the buffer answers alone',
    file: 'src/query/hot-rows.ts',
    from: 'flushedTo_ms === undefined || flushedTo_ms >= start_ms',
    to: 'flushedTo_ms === undefined',
    suite: 'test/integration/query/hot-rows.test.ts',
  },
  {
    rule: 'that it is known what was flushed, before the buffer answers alone',
    file: 'src/query/hot-rows.ts',
    from: 'flushedTo_ms === undefined || flushedTo_ms >= start_ms',
    to: 'flushedTo_ms !== undefined && flushedTo_ms >= start_ms',
    suite: 'test/integration/query/hot-rows.test.ts',
  },
  {
    rule: 'comparing what ClickHouse reads before and after',
    file: 'src/query/sql/tree.ts',
    from: 'if (text !== before[i]) throw notUnderstood();',
    to: '',
    suite: 'test/integration/query/walls.test.ts',
  },
  {
    rule: 'nothing but tables where tables stand',
    file: 'src/query/sql/tree.ts',
    from: 'if (isMarker || isCte || name === noTable) return;',
    to: 'if (name !== "") return;',
    suite: 'test/unit/sql-tree.test.ts',
  },
  {
    rule: 'names of common table expressions without a dot',
    file: 'src/query/sql/tree.ts',
    from: "!name.includes('.') && names.has(name)",
    to: 'names.has(name)',
    suite: 'test/integration/query/walls.test.ts',
  },
  {
    rule: 'the list of functions',
    file: 'src/query/sql/tree.ts',
    from: 'if (!isAllowedFunction(name))',
    to: 'if (isAllowedFunction(name) && false)',
    suite: 'test/integration/query/walls.test.ts',
  },
  {
    rule: 'what IN looks into',
    file: 'src/query/sql/tree.ts',
    from: "if (isMarker || !name.includes('.')) return;",
    to: "if (name !== '') return;",
    suite: 'test/integration/query/walls.test.ts',
  },
  {
    rule: 'the datasets of a key',
    file: 'src/query/sql/query-sql.ts',
    from: '&& reader.reads(dataset)',
    to: '',
    suite: 'test/integration/query/walls.test.ts',
  },
  {
    rule: 'withholding what ClickHouse says in the middle of an answer',
    file: 'src/clickhouse/chunks.ts',
    from: 'if (at >= 0) throw',
    to: 'if (at === -2) throw',
    suite: 'test/integration/query/chunks.test.ts',
  },
  {
    rule: 'the record that a lane is set up from',
    file: 'src/buffer/set-up.lua',
    from: "then return {'stale'} end",
    to: 'then end',
    suite: 'test/integration/catalogue',
  },
  {
    rule: 'the last record of a state',
    file: 'src/catalog/apply-states.ts',
    from: 'was.revision !== revision ||',
    to: '',
    suite: 'test/integration/catalogue/races.test.ts',
  },
  {
    rule: 'an error that an old definition may have caused is not given out before the stores were asked',
    file: 'src/catalog/life.ts',
    from: 'if (round === roundsMax || !isSuspect(error)',
    to: 'if (round > 0 || !isSuspect(error)',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a seal goes into a table of its own life',
    file: 'src/flush/flush-lane.ts',
    from: 'if (current !== undefined && current.physical !== table.physical) throw new LifeOver(table);',
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a query is of one life of each table',
    file: 'src/query/cut.ts',
    from: 'if (newest !== undefined && newest.physical !== table.physical) throw new LifeOver(table);',
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'nobody makes a table whose life is over',
    file: 'src/catalog/ensure-table.ts',
    from: '  await requireLiving(ctx, table, from);\n  await makeTable',
    to: '  await makeTable',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a table that was made while it was dropped is dropped by whoever made it',
    file: 'src/catalog/ensure-table.ts',
    from: '  await makeTable(ctx, table, needs);\n  try {\n    await requireLiving(ctx, table, from);',
    to: '  await makeTable(ctx, table, needs);\n  try {',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a flush of a table that is not there any more looks for the next of its name',
    file: 'src/flush/flush-table.ts',
    from: '    await requireLiving(ctx, table);\n',
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a lane that is due is looked up in its own life',
    file: 'src/flush/flush-due.ts',
    from: ', { life: lifeOf(ref.physical) }',
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a receipt is looked for in the life of its batch',
    file: 'src/ingest/receipt.ts',
    from: ', { life: lifeOf(physical) }',
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'no row goes into quarantine for the schema of a life that is over',
    file: 'src/ingest/ingest.ts',
    from: 'if (rows.errorsTotal > 0 && table !== undefined && (await isOver(ctx, table))) throw new LifeOver(table);',
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'a deletion that is remembered is looked up again',
    file: 'src/catalog/find-table.ts',
    from: "if (table?.state === 'deleting') table = await findNow(ctx, dataset, name);",
    to: '',
    suite: 'test/integration/catalogue/stale-life.test.ts',
  },
  {
    rule: 'no lanes for a table that was dropped',
    file: 'src/catalog/set-up-lanes.ts',
    from: 'if (table?.physical !== seen.physical) throw new LifeOver(seen);',
    to: 'if (table === undefined) return setUpAll(ctx, seen);',
    suite: 'test/integration/catalogue/races.test.ts',
  },
  {
    rule: 'what is left of a dropped definition',
    file: 'src/buffer/drop-lanes.lua',
    from: "redis.call('HSET', KEYS[1], 'life'",
    to: "redis.call('HSET', KEYS[2] .. '-', 'life'",
    suite: 'test/integration/catalogue/races.test.ts',
  },
  {
    rule: 'the quota',
    file: 'src/buffer/stage.lua',
    from: 'used[i] + add[i] > most',
    to: 'used[i] > most',
    suite: 'test/integration/http/limits.test.ts',
  },
  {
    rule: 'a replay before the quota',
    file: 'src/buffer/stage.lua',
    from: 'if charged then',
    to: 'if false then',
    suite: 'test/integration/http/limits.test.ts',
  },
  {
    rule: 'where a deletion ends',
    file: 'src/clickhouse/until.ts',
    from: ".join(' OR ')})`;",
    to: ".join(' OR ')} OR true)`;",
    suite: 'test/integration/jobs/change-rows.test.ts',
  },
  {
    rule: 'deletions on record before they happen',
    file: 'src/jobs/change-rows.ts',
    from: 'on conflict do nothing`,',
    to: 'where false on conflict do nothing`,',
    suite: 'test/integration/jobs/change-rows.test.ts',
  },
  {
    rule: 'seals that wait while rows are deleted',
    file: 'src/buffer/seal.lua',
    from: 'if state[13] and tonumber(state[13]) > now then',
    to: 'if false then',
    suite: 'test/integration/jobs/change-rows.test.ts',
  },
  {
    rule: 'jobs of one table in turn',
    file: 'src/jobs/work.ts',
    from: 'o.n < j.n',
    to: 'false',
    suite: 'test/integration/jobs/change-rows.test.ts',
  },
  {
    rule: 'the claim of a job',
    file: 'src/jobs/work.ts',
    from: "['select 1 / count(*) from jobs where id = $1 and claim = $2', [job.id, job.claim]],",
    to: '',
    suite: 'test/integration/jobs',
  },
  {
    rule: 'being heard of within a long step',
    file: 'src/jobs/work.ts',
    from: 'setInterval(renew, job_claim_ms / 4)',
    to: 'setInterval(() => undefined, 1_000)',
    suite: 'test/integration/jobs/change-rows.test.ts',
  },
  {
    rule: 'no retention while a table is restored',
    file: 'src/backup/restore.ts',
    from: '{ ...record.definition, retention: null, shards }',
    to: '{ ...record.definition, shards }',
    suite: 'test/integration/jobs/backup.test.ts',
  },
  {
    rule: 'the comparison of a restore',
    file: 'src/backup/restore.ts',
    from: 'there.checksum !== content.checksum',
    to: 'false',
    suite: 'test/integration/jobs/backup.test.ts',
  },
];

const root = join(import.meta.dirname, '..', '..');
const suites = ['test/integration', 'test/faults/interleavings', 'test/faults/crash-points'];

/** `npm run test:mutations -- --only words`: rules with these words. */
const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const chosen = mutations.filter(({ rule, file }) => `${rule} ${file}`.includes(values.only));

// Without a change every suite passes: what fails below fails for its change.
const unchanged = { rule: 'nothing', file: 'package.json', from: '"name"', to: '"name"' };
for (const suite of new Set([...suites, ...chosen.flatMap((each) => each.suite ?? [])])) {
  if (values.only !== '' && !chosen.some((each) => each.suite === suite)) continue;
  const failing = firstFailure(unchanged, suite);
  if (failing !== undefined) throw new Error(`${suite} fails as it is: ${failing}`);
}

let survived = 0;
for (const mutation of chosen) {
  let noticed: string | undefined;
  for (const suite of [mutation.suite ?? [], suites].flat()) noticed ??= firstFailure(mutation, suite);
  if (noticed === undefined) survived += 1;
  console.log(`${noticed ? '✔' : '✘'} without ${mutation.rule}: ${noticed ?? 'nothing is noticed'}`);
}
console.log(`\n${chosen.length - survived} noticed, ${survived} not`);
process.exitCode = survived === 0 ? 0 : 1;

/** The first test of a suite that fails; undefined when all pass. */
function firstFailure({ file, from, to }: Mutation, suite: string): string | undefined {
  const copy = mkdtempSync(join(tmpdir(), 'timestore-mutation-'));
  try {
    for (const each of [
      'src',
      'functions',
      'sql',
      'local',
      'test',
      'package.json',
      'wrangler.toml',
      'tsconfig.json',
      'vitest.config.ts',
    ]) {
      cpSync(join(root, each), join(copy, each), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const source = readFileSync(join(copy, file), 'utf8');
    if (!source.includes(from)) throw new Error(`${file} does not have what the mutation replaces: ${from}`);
    writeFileSync(join(copy, file), source.replace(from, to));
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const { status, signal, stderr } = spawnSync(process.execPath, [vitest, 'run', '--bail=1', suite], {
      cwd: copy,
      env: { ...process.env, NO_COLOR: '1', FAULT_RUNS: '200', FAULT_POINTS: '2' },
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      maxBuffer: 1024 ** 3,
      timeout: 900_000,
    });
    // Not over in time is not noticed.
    if (signal !== null) throw new Error(`${suite} ended by ${signal}`);
    return status === 0 ? undefined : (/ FAIL +(.*)/.exec(stderr)?.[1] ?? `${suite} ended with ${status}`);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
