import type { Context } from '../../src/create-context.ts';

/**
 * A hot buffer that fails over to a replica which lags: all its keys are what they were a moment before. The context needs
 * a key prefix that nobody else has.
 *
 * @returns what brings that moment back, as often as it is called
 */
export async function rememberBuffer(ctx: Context): Promise<() => Promise<void>> {
  const saved = `saved-${crypto.randomUUID()}:`;
  const pattern = `${ctx.config.TIMESTORE_KEY_PREFIX}:*`;
  const before = await keysLike(ctx, pattern);
  await inTurn(
    ctx,
    before.map((key) => ['COPY', key, saved + key, 'REPLACE']),
  );
  return async () => {
    const now = await keysLike(ctx, pattern);
    await inTurn(ctx, [
      ...now.filter((key) => !before.includes(key)).map((key) => ['DEL', key]),
      ...before.map((key) => ['COPY', saved + key, key, 'REPLACE']),
    ]);
  };
}

async function keysLike(ctx: Context, pattern: string): Promise<string[]> {
  const [found] = await ctx.redis.inTurn([['KEYS', pattern]]);
  return found?.result as string[];
}

async function inTurn(ctx: Context, commands: string[][]): Promise<void> {
  if (commands.length === 0) return;
  for (const { error } of await ctx.redis.inTurn(commands)) if (error !== undefined) throw new Error(error);
}
