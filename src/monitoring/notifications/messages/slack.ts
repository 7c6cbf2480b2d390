import { cut, headingOf, isoTime, type Message, summaryOf, type Told } from './message.ts';

/** Limits of Slack. https://docs.slack.dev/reference/block-kit/blocks */
const section_chars_max = 3_000;
const header_chars_max = 150;
const blocks_max = 50;

/** Body of an incoming webhook of Slack. */
export function slackBody(message: Message): string {
  const { alerts, truncatedAlerts } = message;
  const heading = headingOf(message);
  // One block is the heading, one names those that are left out.
  const shown = alerts.slice(0, blocks_max - 2);
  const left = alerts.length - shown.length + truncatedAlerts;
  const blocks = [
    { type: 'header', text: { type: 'plain_text', text: cut(heading, header_chars_max) } },
    ...shown.map((each) => section(sectionText(each))),
    ...(left > 0 ? [section(`… and ${left} more`)] : []),
  ];
  return JSON.stringify({ text: escapeSlack(cut(heading, header_chars_max)), blocks });
}

function section(text: string) {
  return { type: 'section', text: { type: 'mrkdwn', text } };
}

function sectionText({ alert }: Told): string {
  const { status, severity, condition, value, startsAt_ms, endsAt_ms, annotations } = alert;
  const head = `*${escapeSlack(cut(summaryOf(alert), 500))}*`;
  const compared = value === null ? condition : `${condition} is ${value}`;
  const times =
    endsAt_ms === null ? `since ${isoTime(startsAt_ms)}` : `${isoTime(startsAt_ms)} to ${isoTime(endsAt_ms)}`;
  const lines = [head, `${status === 'firing' ? severity : status}, ${times}`, escapeSlack(cut(compared, 500))];
  const description = annotations.description ?? '';
  if (description !== '') lines.push(escapeSlack(cut(description, 250)));
  return cutEscaped(lines.join('\n'), section_chars_max);
}

/** `<!channel>` in a value is text, and notifies no channel. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Cuts escaped text, without half an escape at its end. */
function cutEscaped(text: string, chars_max: number): string {
  if (text.length <= chars_max) return text;
  return `${text.slice(0, chars_max - 1).replace(/&[a-z]*$|[\ud800-\udbff]$/, '')}…`;
}
