/** Text for HTML, SVG and XML, as content and in quoted attributes. Characters that XML cannot hold are left out. */
export function escapeText(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;');
}

const dayFormat = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });
const minuteFormat = new Intl.DateTimeFormat('en', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
  timeZone: 'UTC',
});

/** A day in UTC, such as May 1, 2026. */
export function dayText(time_ms: number): string {
  return dayFormat.format(time_ms);
}

/** A time in UTC to the minute. */
export function minuteText(time_ms: number): string {
  return `${minuteFormat.format(time_ms)} UTC`;
}

/** A time in HTML, for people and programs. */
export function timeHtml(time_ms: number): string {
  return `<time datetime="${new Date(time_ms).toISOString()}">${minuteText(time_ms)}</time>`;
}
