export type FlushTrigger = 'cron' | 'queue' | 'size' | 'age' | 'admin' | 'query' | 'ack';
