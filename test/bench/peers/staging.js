/**
 * Staging without what makes it safe, for comparison: a Worker that appends a body as it comes to a stream in the
 * hot buffer. It checks no row, remembers no key, has no limits, and nothing is ever flushed.
 */
const script =
  "local seq = redis.call('INCR', KEYS[1]) redis.call('XADD', KEYS[2], seq .. '-0', 'p', ARGV[1]) return seq";

export default {
  async fetch(request, env) {
    if (request.headers.get('authorization') !== `Bearer ${env.KEY}`) return new Response(null, { status: 401 });
    const answer = await fetch(env.UPSTASH_REDIS_REST_URL, {
      method: 'POST',
      headers: { authorization: `Bearer ${env.UPSTASH_REDIS_REST_TOKEN}` },
      body: JSON.stringify(['EVAL', script, '2', '{bench}:seq', '{bench}:log', await request.text()]),
    });
    const { result } = await answer.json();
    return Response.json({ seq: result }, { status: 202 });
  },
};
