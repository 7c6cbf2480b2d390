#!lua flags=allow-oom
-- Changes how many lanes a table has, for writers and readers in the same step. Readers never look at fewer than before:
-- rows may be pending in any lane that there ever was. Writers are kept off a lane that an import has.
--
-- KEYS  1 state of lane 0
-- ARGV  1 lanes for writers; '' for as many as there are   2 lanes for readers at least
-- Answers {'changed', for writers, for readers}, {'importing'} or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'lanes', 'rlanes', 'ilane')
if not state[2] then return {'unknown'} end
local writers = ARGV[1] == '' and state[1] or ARGV[1]
if state[3] and tonumber(writers) > tonumber(state[3]) then return {'importing'} end
local readers = math.max(tonumber(state[2]), tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'lanes', writers, 'rlanes', readers)
return {'changed', tonumber(writers), readers}
