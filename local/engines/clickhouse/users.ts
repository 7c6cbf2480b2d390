import { createHash } from 'node:crypto';
import { xml } from './config.ts';

type Login = { user: string; password: string };

/** SELECT on the data and nothing else that is not a temporary table of the query itself. */
const readerGrants = [
  'GRANT SELECT ON ts_*.*',
  'GRANT SELECT ON timestore.ingest_watermarks',
  // What an external table of a request is made with. It opens no source: url(), s3(), file() need grants of their own.
  'GRANT CREATE TEMPORARY TABLE ON *.*',
];

const writerGrants = [
  'GRANT ALL ON ts_*.*',
  'GRANT ALL ON timestore.*',
  'GRANT SELECT, SHOW ON *.*',
  'GRANT CREATE TEMPORARY TABLE, CREATE ARBITRARY TEMPORARY TABLE ON *.*',
  'GRANT TABLE ENGINE ON *',
  'GRANT READ, WRITE ON S3',
  'GRANT READ, WRITE ON REMOTE',
  'GRANT READ ON POSTGRES',
  'GRANT KILL QUERY, SYSTEM FLUSH LOGS, SYSTEM DROP CACHE ON *.*',
];

/** Limits of the reader: what it gets, and between which bounds a query may ask for less. 0 would mean no limit. */
const readerLimits = {
  max_execution_time: { value: 30, min: 0.001, max: 600 },
  max_memory_usage: { value: 4_294_967_296, min: 1_048_576, max: 4_294_967_296 },
  max_memory_usage_for_user: { value: 8_589_934_592, min: 1_048_576, max: 8_589_934_592 },
  max_query_size: { value: 8_388_608, min: 1, max: 8_388_608 },
  max_ast_depth: { value: 1_000, min: 1, max: 1_000 },
  max_ast_elements: { value: 50_000, min: 1, max: 50_000 },
  max_threads: { value: 8, min: 1, max: 16 },
  max_concurrent_queries_for_user: { value: 64, min: 1, max: 64 },
} as const;

/** Settings that would widen what the reader reaches or hide what it did. */
const readerFixed = { log_queries: 1, allow_introspection_functions: 0, allow_ddl: 0 } as const;

/** The users file. CREATE USER has nowhere to write to on this server, so what they may do is said here. */
export function usersConfig(writer: Login, reader: Login): string {
  return `<clickhouse>
  <profiles>
    <default/>
    <writer/>
    <reader>
      <!-- 2: reads only, and settings may be changed for a query within the constraints. -->
      <readonly>2</readonly>
${lines(readerLimits, (name, { value }) => `      <${name}>${value}</${name}>`)}
${lines(readerFixed, (name, value) => `      <${name}>${value}</${name}>`)}
      <constraints>
${lines(readerLimits, (name, { min, max }) => `        <${name}><min>${min}</min><max>${max}</max></${name}>`)}
${lines(readerFixed, (name) => `        <${name}><const/></${name}>`)}
      </constraints>
    </reader>
  </profiles>
  <quotas>
    <default/>
  </quotas>
  <users>
    <!-- The server's own session: it logs in with this name, no password and the address of this machine, so others
         here can too. Hence it may do nothing but listen. -->
    <default>
      <password/>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
      </grants>
    </default>
${user(writer, 'writer', writerGrants)}
${user(reader, 'reader', readerGrants)}
  </users>
</clickhouse>
`;
}

function user(login: Login, profile: string, grants: string[]): string {
  const hash = createHash('sha256').update(login.password).digest('hex');
  return `    <${login.user}>
      <password_sha256_hex>${hash}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>${profile}</profile>
      <quota>default</quota>
      <grants>
${grants.map((grant) => `        <query>${xml(grant)}</query>`).join('\n')}
      </grants>
    </${login.user}>`;
}

function lines<Value>(record: Record<string, Value>, line: (name: string, value: Value) => string): string {
  return Object.entries(record)
    .map(([name, value]) => line(name, value))
    .join('\n');
}
