import type { AlertView } from '../alert-view.ts';
import { isoTime, type Message, type Told } from './message.ts';

/** Body of a webhook: an event of https://www.standardwebhooks.com with the alerts as its data. */
export function webhookBody(message: Message): string {
  const { dataset, groupKey, at_ms, alerts, truncatedAlerts } = message;
  return JSON.stringify({
    type: `alert.${typeOf(alerts)}`,
    timestamp: isoTime(at_ms),
    data: { dataset, groupKey, truncatedAlerts, alerts: alerts.map(renderTold) },
  });
}

/** The most urgent status of the alerts. */
function typeOf(alerts: Told[]): string {
  const has = (status: AlertView['status']) => alerts.some(({ alert }) => alert.status === status);
  if (has('firing')) return 'fired';
  return has('acknowledged') ? 'acknowledged' : 'resolved';
}

function renderTold({ event, kind, alert }: Told) {
  const { startsAt_ms, firedAt_ms, endsAt_ms, ...rest } = alert;
  return {
    event,
    kind,
    ...rest,
    startsAt: isoTime(startsAt_ms),
    firedAt: isoTime(firedAt_ms),
    endsAt: endsAt_ms === null ? null : isoTime(endsAt_ms),
  };
}
