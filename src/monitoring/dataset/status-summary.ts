import type { OwnView } from '../../query/own-tables.ts';
import type { Field } from '../../schema/types.ts';
import { statusCodes, statusNames } from '../status.ts';

const count = (name: string): Field => ({ name, type: 'unsigned', required: true });

/** The status of each service by hour. The last status is that of the newest row, the last received of equal times. */
export const statusSummary: Omit<OwnView, 'dataset'> = {
  kind: 'view',
  name: 'service_status_summary',
  fields: [
    { name: 'service_id', type: 'string', required: true },
    { name: 'hour', type: 'timestamp', required: true },
    count('total_checks'),
    ...statusNames.map((status) => count(`${status}_count`)),
    { name: 'failure_rate', type: 'double', required: true },
    { name: 'last_status', type: 'integer', required: true },
    { name: 'avg_response_time', type: 'double' },
    { name: 'min_response_time', type: 'integer' },
    { name: 'max_response_time', type: 'integer' },
    { name: 'avg_cpu_usage', type: 'double' },
    { name: 'avg_memory_usage', type: 'double' },
  ],
  of: 'service_status',
  needs: ['service_id', 'timestamp', 'status_code', 'response_time_ms', 'cpu_usage', 'memory_usage'],
  select: (
    relation,
  ) => `SELECT service_id, toDateTime64(toStartOfHour(timestamp), 3, 'UTC') AS hour, count() AS total_checks,
    ${statusNames.map((status) => `countIf(status_code = ${statusCodes[status]}) AS ${status}_count`).join(', ')},
    countIf(status_code = ${statusCodes.failed}) / count() * 100 AS failure_rate,
    argMax(status_code, (timestamp, _received_at, _lane, _seq, _row)) AS last_status,
    avg(response_time_ms) AS avg_response_time, min(response_time_ms) AS min_response_time,
    max(response_time_ms) AS max_response_time, avg(cpu_usage) AS avg_cpu_usage, avg(memory_usage) AS avg_memory_usage
    FROM ${relation} GROUP BY service_id, hour`,
};
