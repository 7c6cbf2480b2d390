import type { Timestore } from './bring-up.ts';
import { createCollector } from './collector.ts';
import { runCron } from './cron.ts';
import { reasonOf } from './failure.ts';
import { collectMachine, type MetricRow, metricColumns } from './machine-metrics.ts';
import type { Options } from './options.ts';
import { showAddresses, showAnswer, showCurl } from './report.ts';

const statusEveryMs = 60_000;
const firstQueryRows = 20;

/** The main task: collects and sends rows until the signal aborts, while cron flushes. Never rejects. */
export async function live({ stack, api }: Timestore, options: Options, signal: AbortSignal): Promise<void> {
  const print = (text: string) => console.log(`${new Date().toLocaleTimeString('en-GB')}  ${text}`);
  const collector = createCollector(api, print);
  await collectMachine(new Date(), undefined); // rates need an earlier collection
  const from = new Date().toISOString();
  const rows = await collector.tick();
  const range = { start: from, end: new Date(Date.now() + 1).toISOString() };

  console.log(`\nTimestore is running.\n${showAddresses(api.url, stack)}`);
  console.log(
    `\nSent ${collector.counts.sent} rows with metrics of this machine; ${rows.length} more follow every ${options.collectSeconds} s.`,
  );
  console.log(`Result of the first query:\n${await queryFirstRows()}`);
  console.log(`\nRun this query yourself:\n  ${showCurl(api.url, { start: from, end: '2100-01-01T00:00:00.000Z' })}`);
  console.log('\nCtrl-C stops everything.\n');

  const status = setInterval(() => {
    const { sent, waiting, lost } = collector.counts;
    print(`${sent} rows sent, ${waiting} waiting${lost > 0 ? `, ${lost} discarded` : ''}`);
  }, statusEveryMs);
  await Promise.all([collector.run(options.collectSeconds, signal), runCron(api, signal, print)]);
  clearInterval(status);

  async function queryFirstRows(): Promise<string> {
    try {
      return showAnswer(await api.query<MetricRow>(range, metricColumns, firstQueryRows));
    } catch (error) {
      return `  The query failed: ${reasonOf(error)}`;
    }
  }
}
