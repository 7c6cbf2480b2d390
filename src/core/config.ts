import * as z from 'zod';
import { type Limits, limitsSchema, limitVariable, tooSmallFor } from './limits.ts';

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
  /** Allowed webhook hosts. Default: every public host. */
  TIMESTORE_WEBHOOK_HOSTS: z
    .string()
    .transform((text) => text.split(',').map((host) => host.trim().toLowerCase()))
    .refine(
      (hosts) => hosts.every(isHost),
      'must be hosts like hooks.example.com, *.example.com or hooks.internal:8443, with commas between',
    )
    .optional(),
  /** Whether checks may reach private networks. Default: public addresses only. */
  TIMESTORE_MONITOR_PRIVATE: z.stringbool().default(false),
  /** Hosts of this deployment, which checks cannot ask. */
  TIMESTORE_MONITOR_OWN_HOSTS: listOf(
    isHost,
    'must be hosts like timestore.example.com, with commas between',
  ).optional(),
  /** Resolvers with the JSON form of DNS over HTTPS: the second one gives a second opinion. */
  TIMESTORE_MONITOR_RESOLVERS: listOf(
    isServer,
    'must be addresses like https://dns.google/resolve, with commas between',
  ).prefault('https://cloudflare-dns.com/dns-query,https://dns.google/resolve'),
  /** Addresses that answer as long as the network of the checker works. */
  TIMESTORE_MONITOR_ANCHORS: listOf(
    isServer,
    'must be addresses like https://example.com, with commas between',
  ).prefault('https://www.gstatic.com/generate_204,https://cloudflare.com/cdn-cgi/trace'),
  UPSTASH_REDIS_REST_URL: z.url({ protocol: /^https?$/ }),
  UPSTASH_REDIS_REST_TOKEN: z.string().min(1),
  BUFFER_WAIT_REPLICAS: z.coerce.number().int().min(0).max(5).default(0),
  /** Memory use of the hot buffer above which new rows are rejected. Default: the limit that Redis reports, if it reports one. */
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
  /** `auto`: asks ClickHouse. */
  CLICKHOUSE_KIND: z.enum(['auto', 'server', 'cloud']).default('auto'),
  /** For several servers: the name of their cluster in `remote_servers`, and the address of each server. */
  CLICKHOUSE_CLUSTER: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be the name of a cluster')
    .optional(),
  CLICKHOUSE_SHARDS: z
    .string()
    .transform(parseShards)
    .refine(
      (shards) => shards.every((nodes) => nodes.every(isServer)),
      'must be addresses like https://a1:8443,https://a2:8443 https://b1:8443: shards with spaces between, replicas with commas',
    )
    .optional(),
  /** Hour of the day (UTC) of the daily backup to the object store. Default: no backups. */
  TIMESTORE_BACKUP_HOUR: z.coerce.number().int().min(0).max(23).optional(),
  /** Number of backups to keep. */
  TIMESTORE_BACKUPS_KEPT: z.coerce.number().int().min(1).max(1_000).default(7),
  S3_ENDPOINT: z.url({ protocol: /^https?$/ }),
  S3_REGION: z.string().min(1),
  S3_BUCKET: z.string().min(1),
  S3_ACCESS_KEY_ID: z.string().min(1),
  S3_SECRET_ACCESS_KEY: z.string().min(1),
  /** The source system of a takeover: its address, and its API key for this deployment. */
  TIMESTORE_ORIGIN_URL: z.url({ protocol: /^https?$/ }).optional(),
  TIMESTORE_ORIGIN_KEY: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII characters')
    .optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  OTEL_EXPORTER_OTLP_HEADERS: z
    .string()
    .regex(/^[^=,]+=[^,]*(,[^=,]+=[^,]*)*$/, 'must be name=value, with commas between')
    .transform((text) => Object.fromEntries(text.split(',').map(parseHeader)))
    .optional(),
  OTEL_SERVICE_NAME: z.string().min(1).default('timestore'),
  /** Share of the traces begun here that are exported, 0 to 1. */
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
});

/** All environment variables. */
export const settingNames: readonly string[] = [
  ...Object.keys(environment.shape),
  ...Object.keys(limitsSchema.shape).map(limitVariable),
];

export type Config = z.output<typeof environment> & { limits: Limits };

/** Variables of the environment are missing or malformed. `problems` names each variable and never holds a value. */
export class ConfigError extends Error {
  readonly problems: string[];
  constructor(problems: string[]) {
    super(`Invalid environment:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** The stores that a migration changes. The reader is optional: its settings are checked if it is configured. */
const migrationEnvironment = environment
  .partial({ CLICKHOUSE_READER_USER: true, CLICKHOUSE_READER_PASSWORD: true })
  .pick({
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

export type MigrateConfig = z.output<typeof migrationEnvironment>;

/** Reads the part of the environment that a migration needs. Throws ConfigError. */
export function readMigrateConfig(env: Record<string, unknown>): MigrateConfig {
  const set = withoutEmpty(env);
  const values = migrationEnvironment.safeParse(set);
  const problems = [...listProblems(values, env), ...findInconsistent(set)];
  if (!values.success || problems.length > 0) throw new ConfigError(problems);
  return values.data;
}

/**
 * Reads the environment. No other place does.
 *
 * @throws ConfigError with every missing and malformed variable
 */
export function readConfig(env: Record<string, unknown>): Config {
  const set = withoutEmpty(env);
  const values = environment.safeParse(set);
  const limitValues = Object.fromEntries(
    Object.keys(limitsSchema.shape).map((name) => [name, set[limitVariable(name)]]),
  );
  const limits = limitsSchema.safeParse(limitValues);

  const problems = [
    ...listProblems(values, set),
    ...listIssues(limits).map(({ path, message }) => `${limitVariable(path)}: ${message}`),
  ];
  if (values.success && values.data.TIMESTORE_ADMIN_KEY === 'local-admin' && !values.data.TIMESTORE_LOCAL) {
    problems.push('TIMESTORE_ADMIN_KEY: the key local-admin is public; set a secret of your own');
  }
  problems.push(...findInconsistent(set), ...(limits.success ? tooSmallFor(limits.data) : []));
  if (problems.length > 0 || !values.success || !limits.success) throw new ConfigError(problems);
  return { ...values.data, limits: limits.data };
}

/** Variables that must be set together. */
const together = [
  ['TIMESTORE_ORIGIN_URL', 'TIMESTORE_ORIGIN_KEY', 'the source system needs both an address and a key'],
  ['CLICKHOUSE_CLUSTER', 'CLICKHOUSE_SHARDS', 'a cluster needs both its name and the addresses of its nodes'],
] as const;

function findInconsistent(set: Record<string, unknown>): string[] {
  if (set.CLICKHOUSE_KIND === 'cloud' && set.CLICKHOUSE_CLUSTER !== undefined) {
    return ['CLICKHOUSE_KIND: ClickHouse Cloud has one address, CLICKHOUSE_URL, and no cluster of servers'];
  }
  return together.flatMap(([a, b, why]) => {
    const missing = [a, b].filter((name) => set[name] === undefined);
    return missing.length === 1 ? [`${missing[0]}: is missing; ${why}`] : [];
  });
}

/** Values with commas between. */
function listOf(isValid: (value: string) => boolean, message: string) {
  return z
    .string()
    .transform((text) => text.split(',').map((each) => each.trim()))
    .refine((values) => values.every(isValid), message);
}

function parseShards(text: string): string[][] {
  const shards = text.split(/\s+/).filter((shard) => shard !== '');
  return shards.map((shard) => shard.split(',').map((url) => url.replace(/\/$/, '')));
}

function isServer(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** A host as in a URL. A first label `*` matches any label. */
function isHost(text: string): boolean {
  const host = text.replace(/^\*\./, '');
  return !host.includes('*') && URL.canParse(`https://${host}`) && new URL(`https://${host}`).host === host;
}

/** Values are percent-encoded, as OpenTelemetry specifies. */
function parseHeader(pair: string): [string, string] {
  const separator = pair.indexOf('=');
  return [pair.slice(0, separator).trim(), decodeURIComponent(pair.slice(separator + 1).trim())];
}

function isOrigin(text: string): boolean {
  return text === '*' || (URL.canParse(text) && new URL(text).origin === text);
}

function withoutEmpty(env: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
}

function listProblems(result: z.ZodSafeParseResult<unknown>, env: Record<string, unknown>): string[] {
  return listIssues(result).map(({ path, message }) => `${path}: ${(env[path] ?? '') === '' ? 'is missing' : message}`);
}

function listIssues(result: z.ZodSafeParseResult<unknown>): { path: string; message: string }[] {
  return result.success ? [] : result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
}
