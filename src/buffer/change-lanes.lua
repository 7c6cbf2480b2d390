-- Changes how many lanes a table has, for writers and readers in the same step. Readers never look at fewer than before:
-- rows may be pending in any lane that there ever was.
--
-- KEYS  1 state of lane 0
-- ARGV  1 lanes for writers
-- Answers {'changed', for writers, for readers} or {'unknown'}.
local readers = redis.call('HGET', KEYS[1], 'rlanes')
if not readers then return {'unknown'} end
local most = math.max(tonumber(readers), tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'lanes', ARGV[1], 'rlanes', most)
return {'changed', tonumber(ARGV[1]), most}
