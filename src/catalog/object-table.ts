import { quoteString } from '../core/identifiers.ts';
import type { Settings } from '../stores/clickhouse/client.ts';
import type { CatalogDeps, CatalogNode } from './deps.ts';

/**
 * An object of the bucket as ClickHouse reaches it: a table function, with the structure in parameter `_columns`. The secret
 * stands in the statement, which is the body of the request: ClickHouse hides it in its logs, and parameters would be in the
 * URL, which others log.
 */
export function objectFunction(ctx: CatalogDeps, key: string, format: string): string {
  const { S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY } = ctx.config;
  const url = `${S3_ENDPOINT.replace(/\/$/, '')}/${S3_BUCKET}/${key}`;
  const access = [url, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY].map(quoteString).join(', ');
  return `s3(${access}, ${quoteString(format)}, {_columns:String})`;
}

/** A statement that may take as long as an export. Throws StoreError, ClickHouseError. */
export async function askLong(node: CatalogNode, body: string, settings: Settings): Promise<string> {
  const { export_timeout_ms: timeout_ms } = node.config.limits;
  return await node.clickhouse.send({
    body,
    settings: { ...settings, max_execution_time: Math.ceil(timeout_ms / 1000) },
    timeout_ms,
  });
}

/**
 * Cloudflare's R2 takes an upload only if all its parts but the last are of one size; left to itself ClickHouse makes the first
 * larger. R2 takes 10,000 parts, which makes 160 GB an object.
 */
const upload: Settings = { s3_strict_upload_part_size: 16 * 1024 ** 2, s3_truncate_on_insert: 1 };

/** Writes what a SELECT answers as an object, in place of what was there. Throws StoreError, ClickHouseError. */
export async function writeObject(
  node: CatalogNode,
  object: string,
  select: string,
  settings: Settings,
): Promise<void> {
  await askLong(node, `INSERT INTO FUNCTION ${object} ${select}`, { ...settings, ...upload });
}
