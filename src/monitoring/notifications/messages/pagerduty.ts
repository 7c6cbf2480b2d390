import { createHash } from 'node:crypto';
import { assert } from '../../../core/assert.ts';
import type { AlertView } from '../alert-view.ts';
import { cut, isoTime, type Message, summaryOf, type Told } from './message.ts';

const key_chars_max = 255;
const summary_chars_max = 1_024;

/**
 * One event of PagerDuty's Events API v2 for each alert, without the routing key, which `withRoutingKey` puts in. A change of
 * an alert that PagerDuty has no action for triggers it again.
 */
export function pagerdutyBodies({ alerts }: Message): string[] {
  return alerts.map(({ kind, alert }) => {
    const action = actionOf({ kind, alert });
    const dedup_key = dedupKey(alert);
    if (action !== 'trigger') return JSON.stringify({ event_action: action, dedup_key });
    const { label, ruleName, severity, startsAt_ms, labels, annotations, condition, value, threshold } = alert;
    return JSON.stringify({
      event_action: action,
      dedup_key,
      client: 'timestore',
      payload: {
        summary: cut(summaryOf(alert), summary_chars_max),
        source: label,
        severity,
        timestamp: isoTime(startsAt_ms),
        component: alert.serviceId || label,
        group: alert.dataset,
        class: ruleName,
        custom_details: { condition, value, threshold, dependents: alert.dependents, labels, annotations },
      },
    });
  });
}

function actionOf({ alert }: Pick<Told, 'kind' | 'alert'>): 'trigger' | 'acknowledge' | 'resolve' {
  if (alert.status === 'resolved') return 'resolve';
  return alert.status === 'acknowledged' ? 'acknowledge' : 'trigger';
}

/** The same for all messages of an episode, and for no other episode, rule, instance or dataset. */
export function dedupKey({ dataset, ruleId, fingerprint, episode }: AlertView): string {
  const parts = [dataset, ruleId, fingerprint, String(episode)];
  assert(
    parts.every((part) => part !== ''),
    'an alert names its dataset, rule, instance and episode',
  );
  const key = `ts/${parts.map(encodeURIComponent).join('/')}`;
  if (key.length <= key_chars_max) return key;
  return `ts/${createHash('sha256').update(key).digest('hex')}`;
}

/** The finished body. The routing key is a secret, which no job contains. */
export function withRoutingKey(body: string, routingKey: string): string {
  return `{"routing_key":${JSON.stringify(routingKey)},${body.slice(1)}`;
}
