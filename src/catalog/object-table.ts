import { quoteString } from '../core/identifiers.ts';
import type { Settings } from '../stores/clickhouse/client.ts';
import type { CatalogDeps, CatalogNode } from './deps.ts';

/**
 * The table function for an object of the bucket, with the structure in parameter `_columns`. The secret is in the statement,
 * which is the request body: ClickHouse masks it in its logs. Parameters would be in the URL, which proxies log.
 */
export function objectFunction(ctx: CatalogDeps, key: string, format: string): string {
  const { S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY } = ctx.config;
  const url = `${S3_ENDPOINT.replace(/\/$/, '')}/${S3_BUCKET}/${key}`;
  const access = [url, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY].map(quoteString).join(', ');
  return `s3(${access}, ${quoteString(format)}, {_columns:String})`;
}

/** Runs a statement with the timeout of exports. Throws StoreError, ClickHouseError. */
export async function askLong(node: CatalogNode, body: string, settings: Settings): Promise<string> {
  const { export_timeout_ms: timeout_ms } = node.config.limits;
  return await node.clickhouse.send({
    body,
    settings: { ...settings, max_execution_time: Math.ceil(timeout_ms / 1000) },
    timeout_ms,
  });
}

/**
 * Cloudflare's R2 requires parts of equal size except the last; by default ClickHouse uploads a larger first part. R2 accepts
 * 10,000 parts, which allows 160 GB per object.
 */
const upload: Settings = { s3_strict_upload_part_size: 16 * 1024 ** 2, s3_truncate_on_insert: 1 };

/** Writes the result of a SELECT to an object, and replaces an existing one. Throws StoreError, ClickHouseError. */
export async function writeObject(
  node: CatalogNode,
  object: string,
  select: string,
  settings: Settings,
): Promise<void> {
  await askLong(node, `INSERT INTO FUNCTION ${object} ${select}`, { ...settings, ...upload });
}
