import { msOf } from '../duration.ts';
import type { Rule } from '../resources/rule.ts';
import type { AlertInstance, Told } from './instance.ts';

/** A notice that an evaluation owes a channel. */
export type OwedNotice = { channel: string; kind: string; episode: number };

/**
 * What channels are to be notified of: the difference between what they were notified of and the state of an instance. A mute
 * holds back new messages about an open alert; whoever was notified of an alert is notified of its end.
 *
 * @param rule undefined for a rule that is gone
 * @param isMuted silenced, in maintenance or explained by another service
 */
export function owedNotices(
  instance: AlertInstance,
  rule: Rule | undefined,
  at_ms: number,
  isMuted: boolean,
): { notices: OwedNotice[]; told: Record<string, Told> } {
  const { machine } = instance;
  const isOpen = machine.state === 'firing' || machine.state === 'recovering';
  const notices: OwedNotice[] = [];
  const told: Record<string, Told> = {};
  for (const [channel, known] of Object.entries(instance.told)) {
    if (isOpen && known.episode === machine.episode) told[channel] = known;
    else notices.push({ channel, kind: 'resolved', episode: known.episode });
  }
  if (!isOpen || rule === undefined || isMuted) return { notices, told };
  const { episode, firedAt_ms } = machine;
  const since_ms = at_ms - (firedAt_ms ?? at_ms);
  const tell = (channel: string, kind: string) => {
    if (told[channel] !== undefined) return;
    told[channel] = { episode, repeat: repeatNumber(rule, since_ms) };
    notices.push({ channel, kind, episode });
  };
  for (const channel of rule.notificationChannels) tell(channel, 'fired');
  if (machine.ackedBy !== null) return { notices, told };
  for (const [i, step] of rule.escalation.entries()) {
    if (since_ms < msOf(step.after)) continue;
    for (const channel of step.channels) tell(channel, `step-${i + 1}`);
  }
  const repeat = repeatNumber(rule, since_ms);
  for (const [channel, known] of Object.entries(told)) {
    if (repeat <= known.repeat) continue;
    told[channel] = { ...known, repeat };
    notices.push({ channel, kind: `repeat-${repeat}`, episode });
  }
  return { notices, told };
}

function repeatNumber(rule: Rule, since_ms: number): number {
  return Math.floor(since_ms / msOf(rule.repeat));
}
