-- Whose a saved query is: others run it, and may not replace it. Null for those of before, which an admin may replace.

alter table saved_queries add saved_by text;  -- id of the key that saved it first, or the one that it was rotated to
