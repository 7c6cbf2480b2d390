/** The groups `$groups` of a channel. */
export const ofGroupsSql =
  'buffer = $buffer and dataset = $dataset and channel = $channel and group_key = any($groups::text[])';

/** Holds off commits that add notices to these groups, until the end of the transaction. */
export const lockSql = `select 1 from notification_groups where ${ofGroupsSql} order by channel, group_key for update`;
