import { createHash } from 'node:crypto';
import { grantsOf, settingsOfUser } from '../../../src/stores/clickhouse/users.ts';
import { xml } from './config.ts';

type Login = { user: string; password: string };

/** What tests and a look at the local server need beside what a deployment's writer may do. */
const localGrants = [
  'GRANT SELECT, SHOW ON *.*',
  'GRANT CREATE ARBITRARY TEMPORARY TABLE ON *.*',
  'GRANT READ ON POSTGRES',
  'GRANT KILL QUERY, SYSTEM FLUSH LOGS, SYSTEM DROP CACHE ON *.*',
];

/**
 * The users file. CREATE USER has nowhere to write to on this server, so what sql/clickhouse/users.sql says of the users is put in
 * the form that it reads.
 *
 * @param granted one more writer, with what a deployment's may do and no more
 */
export function usersConfig({ writer, reader, granted }: Record<'writer' | 'reader' | 'granted', Login>): string {
  const limits = settingsOfUser('timestore_reader');
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
${user(writer, 'writer', [...grantsOf('timestore_writer'), ...localGrants])}
${user(granted, 'writer', grantsOf('timestore_writer'))}
${user(reader, 'reader', grantsOf('timestore_reader'))}
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
