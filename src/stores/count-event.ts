import type { Event } from '../core/log.ts';
import type { Counters } from './counters.ts';

/** Counts wide events, so that metrics agree with the log. */
export function countEvent(counters: Counters, event: Event): void {
  if (event.alarm === true) counters.add('timestore_alarms_total', { event: event.event });
  if (event.event === 'request') countRequest(counters, event);
  if (event.event === 'flush') countFlush(counters, event);
  if (event.event === 'read-compared') {
    const labels = { dataset: String(event.dataset), outcome: String(event.outcome) };
    counters.add('timestore_read_compared_total', labels);
  }
  if (event.event === 'job') {
    counters.add('timestore_jobs_total', { kind: String(event.kind), outcome: String(event.outcome) });
  }
}

function countRequest(counters: Counters, event: Event): void {
  const { kind, status, code, took_ms, dataset, rows, quarantined, replayed, mode, tailRows, rejected } = event;
  // Health probes would dominate the metrics of user requests.
  if (kind === 'health') return;
  counters.add('timestore_requests_total', { kind: String(kind), status: String(status) });
  counters.observe('timestore_request_duration_ms', { kind: String(kind) }, Number(took_ms));
  if (code !== undefined) counters.add('timestore_problems_total', { code: String(code) });
  if (rejected !== undefined) counters.add('timestore_rejected_rows_total', { code: String(code) }, Number(rejected));
  if (kind === 'ingest' && rows !== undefined) {
    const labels = { dataset: String(dataset) };
    if (replayed === true) counters.add('timestore_ingest_replayed_total', {});
    else counters.add('timestore_ingest_rows_total', labels, Number(rows));
    if (replayed !== true) {
      counters.add('timestore_quarantined_rows_total', { ...labels, origin: 'request' }, Number(quarantined ?? 0));
    }
  }
  if (mode !== undefined) {
    counters.add('timestore_query_total', { mode: String(mode) });
    counters.add('timestore_query_tail_rows_total', {}, Number(tailRows ?? 0));
  }
}

function countFlush(counters: Counters, event: Event): void {
  const { outcome, trigger, dataset, rows, quarantined, took_ms } = event;
  counters.add('timestore_flush_total', { outcome: String(outcome), trigger: String(trigger) });
  if (outcome !== 'ok') return;
  counters.add('timestore_flush_rows_total', { dataset: String(dataset) }, Number(rows));
  counters.add(
    'timestore_quarantined_rows_total',
    { dataset: String(dataset), origin: 'flush' },
    Number(quarantined ?? 0),
  );
  if (took_ms !== undefined) counters.observe('timestore_flush_duration_ms', {}, Number(took_ms));
}
