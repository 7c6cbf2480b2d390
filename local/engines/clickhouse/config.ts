export type ServerConfig = {
  logFile: string;
  usersFile: string;
  /** Location of the cold volume: an S3 prefix that ends with a slash. */
  cold: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string };
  /** Ports of all nodes, one shard each, in their order; empty for a single server. */
  shards: number[];
  /** The server's own port. */
  tcpPort: number;
};

export const clusterName = 'timestore';

/** A single server is also a cluster: ClickHouse Cloud uses the name `default` for all replicas of a service. */
function remoteServers(shards: number[], tcpPort: number): string {
  return `
  <remote_servers>${cluster('default', [tcpPort])}${shards.length === 0 ? '' : cluster(clusterName, shards)}
  </remote_servers>`;
}

/** With the secret, a query runs on the other nodes as the same user and with the grants of that user. */
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
  <!-- Smaller caches than on a server: the machine runs other programs too. -->
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
        <!-- Without S3 only cold rows are unavailable; the server starts anyway. -->
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
        <!-- Rows move by their TTL only, not because the local disk is nearly full. -->
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
