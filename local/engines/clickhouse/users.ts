import { createHash } from 'node:crypto';
import monitorReaderSql from '../../../sql/clickhouse/monitor-reader.sql';
import { readGrants, readUserSettings, type UserSetting } from '../../../src/stores/clickhouse/users.ts';
import { xml } from './config.ts';

type Login = { user: string; password: string };

/** Grants for tests and for inspecting the local server, in addition to those of a deployment's writer. */
const localGrants = [
  'GRANT SELECT, SHOW ON *.*',
  'GRANT CREATE ARBITRARY TEMPORARY TABLE ON *.*',
  'GRANT READ ON POSTGRES',
  'GRANT KILL QUERY, SYSTEM FLUSH LOGS, SYSTEM DROP CACHE ON *.*',
];

/**
 * The users file. This server has no storage for CREATE USER, so the users of sql/clickhouse/users.sql are converted to
 * its XML format.
 *
 * @param granted another writer with exactly the grants of a deployment's writer
 */
export function usersConfig({
  writer,
  reader,
  granted,
  monitorReader,
}: Record<'writer' | 'reader' | 'granted' | 'monitorReader', Login>): string {
  return `<clickhouse>
  <profiles>
    <default/>
    <writer/>
${profile('reader', readUserSettings('timestore_reader'))}
${profile('monitor_reader', readUserSettings('monitor_reader', monitorReaderSql))}
  </profiles>
  <quotas>
    <default/>
  </quotas>
  <users>
    <!-- The server's own session uses this name without a password, from the address of this machine. So any local
         process can log in, and this user may only start and stop listening. -->
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
${user(writer, 'writer', [...readGrants('timestore_writer'), ...localGrants])}
${user(granted, 'writer', readGrants('timestore_writer'))}
${user(reader, 'reader', readGrants('timestore_reader'))}
${user(monitorReader, 'monitor_reader', readGrants('monitor_reader', monitorReaderSql))}
  </users>
</clickhouse>
`;
}

function profile(name: string, limits: UserSetting[]): string {
  const changeable = limits.filter(({ name: setting, isConst }) => !isConst && setting !== 'readonly');
  return `    <${name}>
${limits.map(({ name: setting, value }) => `      <${setting}>${value}</${setting}>`).join('\n')}
      <constraints>
${changeable
  .map(({ name: setting, min, max }) => `        <${setting}><min>${min}</min><max>${max}</max></${setting}>`)
  .join('\n')}
${limits
  .filter(({ isConst }) => isConst)
  .map(({ name: setting }) => `        <${setting}><const/></${setting}>`)
  .join('\n')}
      </constraints>
    </${name}>`;
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
