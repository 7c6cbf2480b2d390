import { setTimeout as delay } from 'node:timers/promises';
import { type Api, describeAnswer } from './api.ts';
import { reasonOf } from './failure.ts';

/** The schedule in wrangler.toml. */
const everyMinute = '* * * * *';
const minuteMs = 60_000;

/** Fires the Worker's scheduled handler at each full minute, as Cloudflare does, until the signal. Never rejects. */
export async function runCron(api: Api, signal: AbortSignal, say: (line: string) => void): Promise<void> {
  while (await untilNextMinute(signal)) {
    // Not awaited: a run that takes longer than its minute overlaps the next one, there as here.
    void fire(api).then((problem) => {
      if (problem !== undefined && !signal.aborted) say(`The cron handler failed: ${problem}`);
    });
  }
}

async function fire(api: Api): Promise<string | undefined> {
  try {
    const answer = await api.fireCron(everyMinute);
    return answer.status === 200 ? undefined : describeAnswer(answer);
  } catch (error) {
    return reasonOf(error);
  }
}

async function untilNextMinute(signal: AbortSignal): Promise<boolean> {
  try {
    await delay(minuteMs - (Date.now() % minuteMs), undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
