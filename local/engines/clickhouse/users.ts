import { createHash } from 'node:crypto';
import { readGrants, readUserSettings } from '../../../src/stores/clickhouse/users.ts';
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
export function usersConfig({ writer, reader, granted }: Record<'writer' | 'reader' | 'granted', Login>): string {
  const limits = readUserSettings('timestore_reader');
  const changeable = limits.filter(({ name, isConst }) => !isConst && name !== 'readonly');
  return `<clickhouse>
  <profiles>
    <default/>
    <writer/>
    <reader>
${limits.map(({ name, value }) => `      <${name}>${value}</${name}>`).join('\n')}
      <constraints>
${changeable.map(({ name, min, max }) => `        <${name}><min>${min}</min><max>${max}</max></${name}>`).join('\n')}
${limits
  .filter(({ isConst }) => isConst)
  .map(({ name }) => `        <${name}><const/></${name}>`)
  .join('\n')}
      </constraints>
    </reader>
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
