-- After a failover, the hot buffer may give the same sequence to another batch. The time of acknowledgement distinguishes the
-- two batches.
ALTER TABLE timestore.ingest_watermarks
    ADD COLUMN IF NOT EXISTS `received_at` DateTime64(3, 'UTC') COMMENT 'when the batch at the watermark was acknowledged, by the hot buffer; 1970 in rows from before this column';

ALTER TABLE timestore.skipped_rows
    ADD COLUMN IF NOT EXISTS `received_at` DateTime64(3, 'UTC') COMMENT 'when the batch was acknowledged, by the hot buffer; 1970 in rows from before this column';
