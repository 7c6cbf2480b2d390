import { setTimeout as delay } from 'node:timers/promises';
import { type Api, describeAnswer } from './api.ts';
import { reasonOf } from './failure.ts';

/** The schedules in wrangler.toml. Each has an invocation of its own. */
const schedules = ['* * * * *', '*/1 * * * *'];
const minuteMs = 60_000;

/** Triggers the Worker's scheduled handler at each full minute, as Cloudflare does, until the signal aborts. Never rejects. */
export async function runCron(api: Api, signal: AbortSignal, print: (line: string) => void): Promise<void> {
  while (await waitForNextMinute(signal)) {
    // Not awaited: a run that takes longer than a minute overlaps the next run, as in a deployment.
    for (const schedule of schedules) {
      void fire(api, schedule).then((problem) => {
        if (problem !== undefined && !signal.aborted) print(`The cron handler failed: ${problem}`);
      });
    }
  }
}

async function fire(api: Api, schedule: string): Promise<string | undefined> {
  try {
    const answer = await api.fireCron(schedule);
    return answer.status === 200 ? undefined : describeAnswer(answer);
  } catch (error) {
    return reasonOf(error);
  }
}

async function waitForNextMinute(signal: AbortSignal): Promise<boolean> {
  try {
    await delay(minuteMs - (Date.now() % minuteMs), undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
