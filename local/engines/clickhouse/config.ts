export type ServerConfig = {
  logFile: string;
  usersFile: string;
  /** Where the cold volume writes: an S3 prefix with a slash at its end. */
  cold: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string };
  /** Where it finds all nodes, each a shard, in their order; none for a server by itself. */
  shards: number[];
  /** Where it finds itself. */
  tcpPort: number;
};

export const clusterName = 'timestore';

/** The server by itself is a cluster under the name that ClickHouse Cloud has for all replicas of a service. */
function remoteServers(shards: number[], tcpPort: number): string {
  return `
  <remote_servers>${cluster('default', [tcpPort])}${shards.length === 0 ? '' : cluster(clusterName, shards)}
  </remote_servers>`;
}

/** Whoever asks a node is the same user at the others: what it may do there is what it may do anywhere. */
function cluster(name: string, shards: number[]): string {
  return `
    <${name}>
      <secret>timestore-local-cluster</secret>${shards
        .map(
          (port) => `
      <shard>
        <internal_replication>true</internal_replication>
        <replica><host>127.0.0.1</host><port>${port}</port></replica>
      </shard>`,
        )
        .join('')}
    </${name}>`;
}

/** The server's configuration file. */
export function serverConfig({ logFile, usersFile, cold, shards, tcpPort }: ServerConfig): string {
  return `<clickhouse>
  <logger>
    <level>warning</level>
    <log>${xml(logFile)}</log>
    <size>16M</size>
    <count>2</count>
  </logger>
  <users_config>${xml(usersFile)}</users_config>${remoteServers(shards, tcpPort)}
  <!-- A laptop also runs other things: no cache sized for a server. -->
  <mark_cache_size>268435456</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <asynchronous_metrics_update_period_s>60</asynchronous_metrics_update_period_s>
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <ttl>event_date + INTERVAL 3 DAY DELETE</ttl>
    <flush_interval_milliseconds>30000</flush_interval_milliseconds>
  </query_log>
  <part_log>
    <database>system</database>
    <table>part_log</table>
    <ttl>event_date + INTERVAL 3 DAY DELETE</ttl>
    <flush_interval_milliseconds>30000</flush_interval_milliseconds>
  </part_log>
  <storage_configuration>
    <disks>
      <cold>
        <type>s3</type>
        <endpoint>${xml(cold.endpoint)}</endpoint>
        <region>${xml(cold.region)}</region>
        <access_key_id>${xml(cold.accessKeyId)}</access_key_id>
        <secret_access_key>${xml(cold.secretAccessKey)}</secret_access_key>
        <!-- S3 that is away costs the cold rows while it is, not the start of the server. -->
        <skip_access_check>true</skip_access_check>
      </cold>
    </disks>
    <policies>
      <tiered>
        <volumes>
          <default>
            <disk>default</disk>
          </default>
          <cold>
            <disk>cold</disk>
            <!-- Late rows stay local at insert: a flush must not wait for S3. -->
            <perform_ttl_move_on_insert>0</perform_ttl_move_on_insert>
          </cold>
        </volumes>
        <!-- Rows move by their TTL only, never because the disk of this machine is rather full. -->
        <move_factor>0</move_factor>
      </tiered>
    </policies>
  </storage_configuration>
</clickhouse>
`;
}

export function xml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
