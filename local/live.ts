import type { Timestore } from './bring-up.ts';
import { createCollector } from './collector.ts';
import { runCron } from './cron.ts';
import { reasonOf } from './failure.ts';
import { collectMachine, type MetricRow, metricColumns } from './machine-metrics.ts';
import type { Options } from './options.ts';
import { showAddresses, showAnswer, showCurl } from './report.ts';

const statusEveryMs = 60_000;
const firstQueryRows = 20;

/** The main job: collects and sends until the signal, while the cron flushes. Never rejects. */
export async function live({ stack, api }: Timestore, options: Options, signal: AbortSignal): Promise<void> {
  const say = (text: string) => console.log(`${new Date().toLocaleTimeString('en-GB')}  ${text}`);
  const collector = createCollector(api, say);
  await collectMachine(new Date(), undefined); // what rates are counted from
  const from = new Date().toISOString();
  const rows = await collector.tick();
  const range = { start: from, end: new Date(Date.now() + 1).toISOString() };

  console.log(`\nTimestore runs.\n${showAddresses(api.url, stack)}`);
  console.log(
    `\n${collector.counts.sent} rows of this machine are sent, ${rows.length} every ${options.collectSeconds} s.`,
  );
  console.log(`The first query's answer:\n${await firstAnswer()}`);
  console.log(`\nAsk yourself:\n  ${showCurl(api.url, { start: from, end: '2100-01-01T00:00:00.000Z' })}`);
  console.log('\nCtrl-C stops everything.\n');

  const status = setInterval(() => {
    const { sent, waiting, lost } = collector.counts;
    say(`${sent} rows sent, ${waiting} waiting${lost > 0 ? `, ${lost} given up` : ''}`);
  }, statusEveryMs);
  await Promise.all([collector.run(options.collectSeconds, signal), runCron(api, signal, say)]);
  clearInterval(status);

  async function firstAnswer(): Promise<string> {
    try {
      return showAnswer(await api.query<MetricRow>(range, metricColumns, firstQueryRows));
    } catch (error) {
      return `  none: ${reasonOf(error)}`;
    }
  }
}
