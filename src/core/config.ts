import * as z from 'zod';

/** Defaults of every limit; each is one environment value, `TIMESTORE_` and the name in capitals. Units are last in names. */
const limitsSchema = z.object({
  body_bytes_max: count(10 * 1024 * 1024),
  // Bodies and seals that an instance works on at once: each takes several times its bytes of the 128 MiB that there are.
  instance_bytes_max: count(10 * 1024 * 1024),
  request_rows_max: count(50_000),
  row_bytes_max: count(1024 * 1024),
  chunk_bytes_max: count(512 * 1024),
  // Each is a table in ClickHouse and lanes in the hot buffer, which are looked after every hour.
  dataset_tables_max: count(1_000),
  table_fields_max: count(1_000),
  table_defaults_bytes_max: count(64 * 1024),
  idempotency_ms: count(24 * 3_600_000),
  // Of a request without an Idempotency-Key: nobody but this deployment's own client of the hot buffer asks again.
  idempotency_auto_ms: count(10 * 60_000),
  // Of all keys of a dataset together, and how few of them are not refused for what others use.
  idempotency_bytes_max: count(1024 ** 3),
  idempotency_bytes_min: count(1024 * 1024),
  pending_rows_max: count(500_000),
  pending_bytes_max: count(64 * 1024 * 1024),
  trigger_rows: count(10_000),
  trigger_bytes: count(4 * 1024 * 1024),
  trigger_age_ms: count(5_000),
  flush_rows_max: count(50_000),
  flush_bytes_max: count(8 * 1024 * 1024),
  flush_partitions_max: count(100),
  flush_cells_max: count(5_000_000),
  flush_batches_max: count(10_000),
  // What was said of the batches of a flush, which goes into its manifest.
  flush_meta_bytes_max: count(1024 * 1024),
  insert_timeout_ms: count(30_000),
  lease_ms: count(60_000),
  // Manifests on their way to Postgres. They are one record of the hot buffer, of which Upstash takes 100 MB.
  outbox_max: count(10_000),
  outbox_bytes_max: count(64 * 1024 * 1024),
  // Manifests that Postgres refuses are kept for a look, the newest of them: one record, like the outbox.
  refused_manifests_max: count(64),
  retry_ms: count(1_000),
  retry_ms_max: count(60_000),
  probe_ms: count(20_000),
  // Of a request to the hot buffer and of its reply, as they go over the wire. Upstash takes 10 MiB of either.
  redis_wire_bytes_max: count(9_500_000),
  // One attempt at a command; the scripts answer in milliseconds, the rest is the way there and back.
  redis_timeout_ms: count(5_000),
  replicas_timeout_ms: count(2_000),
  quarantine_rows_max: count(10_000),
  quarantine_inline_bytes_max: count(64 * 1024),
  partition_key_entries_max: count(16),
  partition_meta_bytes_max: count(4 * 1024),
  lanes_max: count(64),
  // Of a table that writers make.
  lanes_default: count(1),
  audit_every_ms: count(6 * 3_600_000),
  // A step of a job is given up when nobody has heard of it for so long.
  job_claim_ms: count(120_000),
  reconcile_every_ms: count(3_600_000),
  // An object that nothing names may be of something that is being written.
  orphan_age_ms: count(24 * 3_600_000),
  tail_rows_max: count(50_000),
  tail_bytes_max: count(8 * 1024 * 1024),
  // What an instance remembers: definitions of tables by their fields, keys and the like by their number.
  kept_fields_max: count(50_000),
  kept_names_max: count(10_000),
  kept_tails_chars_max: count(12 * 1024 * 1024),
  query_rows_default: count(10_000),
  query_rows_max: count(500_000),
  query_timeout_ms: count(30_000),
  // Rows of an import that one insert moves.
  import_rows_max: count(1_000_000),
  // Of an export, which is as slow as whoever reads it.
  export_timeout_ms: count(600_000),
  // What is held of an answer before it is given out. Longer ones are streamed.
  query_held_bytes_max: count(2 * 1024 * 1024),
  // Up to so many rows, reading a column more costs less than another question to the hot buffer.
  fence_rows_max: count(1_000_000),
  read_costs_max: count(1_000),
  query_filters_max: count(100),
  query_list_max: count(10_000),
  query_aggregations_max: count(100),
  sql_chars_max: count(100_000),
  sql_tables_max: count(20),
  sql_params_max: count(100),
  sql_param_bytes_max: count(100_000),
  checked_sql_chars_max: count(256 * 1024),
  saved_sql_chars_max: count(1024 * 1024),
  queries_per_key_max: count(32),
  requests_per_key_max: count(256),
  query_memory_bytes_max: count(4 * 1024 ** 3),
  query_wait_ms: count(2_000),
  query_wait_ms_max: count(10_000),
  // Until the original has begun to answer.
  origin_timeout_ms: count(30_000),
  // Answers of more than this are given out, and not compared.
  compared_bytes_max: count(2 * 1024 * 1024),
  // Comparisons that an instance works on at once: each holds two answers.
  comparisons_max: count(4),
  // Of one request of the mirror. A batch is sent whole: one with more is a request of its own.
  mirror_rows_max: count(5_000),
  mirror_bytes_max: count(4 * 1024 * 1024),
});

export type Limits = z.output<typeof limitsSchema>;

const environment = z.object({
  TIMESTORE_ADMIN_KEY: z.string().min(8, 'must have at least 8 characters'),
  TIMESTORE_LOCAL: z.stringbool().default(false),
  TIMESTORE_KEY_PREFIX: z
    .string()
    .regex(/^[a-z0-9_-]{1,32}$/, 'must match [a-z0-9_-]{1,32}')
    .default('ts'),
  TIMESTORE_CORS_ORIGINS: z
    .string()
    .transform((text) => text.split(',').map((origin) => origin.trim()))
    .refine(
      (origins) => origins.every(isOrigin),
      'must be * or origins like https://app.example.com, with commas between',
    )
    .optional(),
  /** The hosts that events may be sent to; any public one if left out. */
  TIMESTORE_WEBHOOK_HOSTS: z
    .string()
    .transform((text) => text.split(',').map((host) => host.trim().toLowerCase()))
    .refine(
      (hosts) => hosts.every(isHost),
      'must be hosts like hooks.example.com, *.example.com or hooks.internal:8443, with commas between',
    )
    .optional(),
  UPSTASH_REDIS_REST_URL: z.url({ protocol: /^https?$/ }),
  UPSTASH_REDIS_REST_TOKEN: z.string().min(1),
  BUFFER_WAIT_REPLICAS: z.coerce.number().int().min(0).max(5).default(0),
  /** New rows are refused when the hot buffer uses more; its own limit if left out, where it tells that. */
  BUFFER_BYTES_MAX: z.coerce.number().int().positive().optional(),
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }),
  NEON_FETCH_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  CLICKHOUSE_URL: z.url({ protocol: /^https?$/ }),
  CLICKHOUSE_USER: z.string().min(1),
  CLICKHOUSE_PASSWORD: z.string(),
  CLICKHOUSE_READER_USER: z.string().min(1),
  CLICKHOUSE_READER_PASSWORD: z.string(),
  CLICKHOUSE_STORAGE_POLICY: z
    .string()
    .regex(/^[A-Za-z0-9_]+$/)
    .optional(),
  /** What it is: found out where this is left out. */
  CLICKHOUSE_KIND: z.enum(['auto', 'server', 'cloud']).default('auto'),
  /** Of several servers: their cluster in `remote_servers`, and where each one is. */
  CLICKHOUSE_CLUSTER: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be the name of a cluster')
    .optional(),
  CLICKHOUSE_SHARDS: z
    .string()
    .transform(shardsOf)
    .refine(
      (shards) => shards.every((nodes) => nodes.every(isServer)),
      'must be addresses like https://a1:8443,https://a2:8443 https://b1:8443: shards with spaces between, replicas with commas',
    )
    .optional(),
  /** Hour of the day, in UTC, at which everything is copied into the object store; never if left out. */
  TIMESTORE_BACKUP_HOUR: z.coerce.number().int().min(0).max(23).optional(),
  /** How many of those copies are kept. */
  TIMESTORE_BACKUPS_KEPT: z.coerce.number().int().min(1).max(1_000).default(7),
  S3_ENDPOINT: z.url({ protocol: /^https?$/ }),
  S3_REGION: z.string().min(1),
  S3_BUCKET: z.string().min(1),
  S3_ACCESS_KEY_ID: z.string().min(1),
  S3_SECRET_ACCESS_KEY: z.string().min(1),
  /** The system that datasets are taken over from: where it is, and the key that it knows this deployment by. */
  TIMESTORE_ORIGIN_URL: z.url({ protocol: /^https?$/ }).optional(),
  TIMESTORE_ORIGIN_KEY: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII characters')
    .optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  OTEL_EXPORTER_OTLP_HEADERS: z
    .string()
    .regex(/^[^=,]+=[^,]*(,[^=,]+=[^,]*)*$/, 'must be name=value, with commas between')
    .transform((text) => Object.fromEntries(text.split(',').map(headerOf)))
    .optional(),
  OTEL_SERVICE_NAME: z.string().min(1).default('timestore'),
  /** Of the traces that begin here, how many are told. */
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
});

/** The names of all that can be set. */
export const settingNames: readonly string[] = [
  ...Object.keys(environment.shape),
  ...Object.keys(limitsSchema.shape).map(limitVariable),
];

export type Config = z.output<typeof environment> & { limits: Limits };

/** The deployment's environment lacks values or has malformed ones. `problems` names each; it never holds a value. */
export class ConfigError extends Error {
  readonly problems: string[];
  constructor(problems: string[]) {
    super(`The environment is not complete:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Where the stores are that a migration changes; the reader, where it is named, is looked at. */
const migrated = environment.partial({ CLICKHOUSE_READER_USER: true, CLICKHOUSE_READER_PASSWORD: true }).pick({
  DATABASE_URL: true,
  NEON_FETCH_ENDPOINT: true,
  CLICKHOUSE_URL: true,
  CLICKHOUSE_KIND: true,
  CLICKHOUSE_USER: true,
  CLICKHOUSE_PASSWORD: true,
  CLICKHOUSE_READER_USER: true,
  CLICKHOUSE_READER_PASSWORD: true,
  CLICKHOUSE_CLUSTER: true,
  CLICKHOUSE_SHARDS: true,
});

export type MigrateConfig = z.output<typeof migrated>;

/** Reads what a migration needs. Throws ConfigError. */
export function readMigrateConfig(env: Record<string, unknown>): MigrateConfig {
  const set = setIn(env);
  const values = migrated.safeParse(set);
  const problems = [...problemsOf(values, env), ...halfSet(set)];
  if (!values.success || problems.length > 0) throw new ConfigError(problems);
  return values.data;
}

/**
 * Reads the environment; the one place that does.
 *
 * @throws ConfigError naming every missing and malformed variable at once
 */
export function readConfig(env: Record<string, unknown>): Config {
  const set = setIn(env);
  const values = environment.safeParse(set);
  const limitValues = Object.fromEntries(
    Object.keys(limitsSchema.shape).map((name) => [name, set[limitVariable(name)]]),
  );
  const limits = limitsSchema.safeParse(limitValues);

  const problems = [
    ...problemsOf(values, set),
    ...issuesOf(limits).map(({ path, message }) => `${limitVariable(path)}: ${message}`),
  ];
  if (values.success && values.data.TIMESTORE_ADMIN_KEY === 'local-admin' && !values.data.TIMESTORE_LOCAL) {
    problems.push('TIMESTORE_ADMIN_KEY: the key local-admin is known to everybody; set a secret of your own');
  }
  problems.push(...halfSet(set), ...(limits.success ? tooSmallFor(limits.data) : []));
  if (problems.length > 0 || !values.success || !limits.success) throw new ConfigError(problems);
  return { ...values.data, limits: limits.data };
}

/** Escapes of escapes make up to eight bytes on the wire of one in a row. */
const wireBytesOfOne = 8;

/** A batch, and what was said of those of a flush, must fit into one request to the hot buffer. */
function tooSmallFor(limits: Limits): string[] {
  const parts = ['row_bytes_max', 'chunk_bytes_max', 'flush_meta_bytes_max'] as const;
  return parts
    .filter((name) => wireBytesOfOne * limits[name] > limits.redis_wire_bytes_max)
    .map(
      (name) =>
        `${limitVariable('redis_wire_bytes_max')}: must be ${wireBytesOfOne} times ${limitVariable(name)} at least`,
    );
}

/** What says nothing without the other. */
const together = [
  ['TIMESTORE_ORIGIN_URL', 'TIMESTORE_ORIGIN_KEY', 'the original needs both its address and a key'],
  ['CLICKHOUSE_CLUSTER', 'CLICKHOUSE_SHARDS', 'a cluster needs both its name and the addresses of its nodes'],
] as const;

function halfSet(set: Record<string, unknown>): string[] {
  if (set.CLICKHOUSE_KIND === 'cloud' && set.CLICKHOUSE_CLUSTER !== undefined) {
    return ['CLICKHOUSE_KIND: ClickHouse Cloud has one address, CLICKHOUSE_URL; a cluster is of servers'];
  }
  return together.flatMap(([a, b, why]) => {
    const missing = [a, b].filter((name) => set[name] === undefined);
    return missing.length === 1 ? [`${missing[0]}: is missing; ${why}`] : [];
  });
}

function shardsOf(text: string): string[][] {
  const shards = text.split(/\s+/).filter((shard) => shard !== '');
  return shards.map((shard) => shard.split(',').map((url) => url.replace(/\/$/, '')));
}

function isServer(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** As a URL has it, but for a first label that stands for any. */
function isHost(text: string): boolean {
  const host = text.replace(/^\*\./, '');
  return !host.includes('*') && URL.canParse(`https://${host}`) && new URL(`https://${host}`).host === host;
}

/** Values are percent-encoded, as OpenTelemetry has them. */
function headerOf(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return [pair.slice(0, at).trim(), decodeURIComponent(pair.slice(at + 1).trim())];
}

function isOrigin(text: string): boolean {
  return text === '*' || (URL.canParse(text) && new URL(text).origin === text);
}

function setIn(env: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
}

function problemsOf(result: z.ZodSafeParseResult<unknown>, env: Record<string, unknown>): string[] {
  return issuesOf(result).map(({ path, message }) => `${path}: ${(env[path] ?? '') === '' ? 'is missing' : message}`);
}

function issuesOf(result: z.ZodSafeParseResult<unknown>): { path: string; message: string }[] {
  return result.success ? [] : result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
}

function limitVariable(name: string): string {
  return `TIMESTORE_${name.toUpperCase()}`;
}

function count(initial: number) {
  const error = 'must be a whole number above 0';
  return z.coerce.number({ error }).int({ error }).positive({ error }).default(initial);
}
