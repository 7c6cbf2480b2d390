/**
 * Another way around single inserts: rows are pushed to a list in Redis and acknowledged, and once a second what is in
 * the list is moved to ClickHouse.
 */
async function redis(env, command) {
  const answer = await fetch(env.UPSTASH_REDIS_REST_URL, {
    method: 'POST',
    headers: { authorization: `Bearer ${env.UPSTASH_REDIS_REST_TOKEN}` },
    body: JSON.stringify(command),
  });
  const { result, error } = await answer.json();
  if (error !== undefined) throw new Error(error);
  return result;
}

async function move(env) {
  const rows = await redis(env, ['LRANGE', 'bench:batcher', '0', '49999']);
  if (rows.length === 0) return;
  const answer = await fetch(env.INSERT_URL, {
    method: 'POST',
    headers: { 'x-clickhouse-user': env.CLICKHOUSE_USER, 'x-clickhouse-key': env.CLICKHOUSE_PASSWORD },
    body: rows.join('\n'),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  await redis(env, ['LTRIM', 'bench:batcher', String(rows.length), '-1']);
}

export default {
  async fetch(request, env) {
    if (request.headers.get('authorization') !== `Bearer ${env.KEY}`) return new Response(null, { status: 401 });
    if (new URL(request.url).pathname === '/move') {
      await move(env);
      return new Response('moved');
    }
    const rows = await request.json();
    await redis(env, ['RPUSH', 'bench:batcher', ...rows.map((row) => JSON.stringify(row))]);
    return Response.json({ accepted: rows.length }, { status: 202 });
  },
};
