import { describeError } from '../../core/log.ts';
import { ask } from '../../stores/redis/client.ts';
import type { MonitoringDeps } from '../deps.ts';

/** The time of the hot buffer in milliseconds since 1970; that of this machine while Redis is unavailable. */
export async function readClock_ms(ctx: MonitoringDeps): Promise<number> {
  try {
    const [seconds, microseconds] = await ask(() => ctx.redis.time());
    return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
  } catch (error) {
    ctx.log({ event: 'buffer-clock-unavailable', ...describeError(error) });
    return ctx.now();
  }
}
