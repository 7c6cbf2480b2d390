-- A hot buffer that fails over may give a sequence again, to another batch. What tells the two apart is when each was
-- acknowledged.
ALTER TABLE timestore.ingest_watermarks
    ADD COLUMN IF NOT EXISTS `received_at` DateTime64(3, 'UTC') COMMENT 'when the batch at the watermark was acknowledged, by the hot buffer; 1970 in rows from before this column';

ALTER TABLE timestore.skipped_rows
    ADD COLUMN IF NOT EXISTS `received_at` DateTime64(3, 'UTC') COMMENT 'when the batch was acknowledged, by the hot buffer; 1970 in rows from before this column';
