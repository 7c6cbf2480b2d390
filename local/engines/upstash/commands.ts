/** A Redis command with its arguments, as sent to Redis. */
export type Command = (string | Buffer)[];

/** A request that is not a valid command. The answer is 400, as for errors of Redis. */
export class CommandError extends Error {}

/** Commands that change the state of a connection or block it. A request over HTTP has no connection of its own. */
const connectionBound = new Set(
  (
    'MULTI EXEC DISCARD WATCH UNWATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR ' +
    'SELECT QUIT RESET HELLO AUTH CLIENT READONLY READWRITE ASKING SYNC PSYNC REPLCONF FAILOVER ' +
    'BLPOP BRPOP BLMOVE BRPOPLPUSH BLMPOP BZPOPMIN BZPOPMAX BZMPOP'
  ).split(' '),
);

/** The body of `POST /`: one command. */
export function parseCommand(body: Buffer): Command {
  return toCommand(parseJson(body));
}

/** The body of `/pipeline` and `/multi-exec`: a list of commands. */
export function parseCommands(body: Buffer): Command[] {
  const commands = parseJson(body);
  if (!Array.isArray(commands) || commands.length === 0) {
    throw new CommandError('ERR the body must be a JSON array of commands, each an array, and not empty');
  }
  return commands.map(toCommand);
}

/** `/set/key/value?EX=10`: the path, then the raw body if any, then the query parameters. */
export function commandFromPath(path: string, query: URLSearchParams, body: Buffer): Command {
  const command: Command = path.split('/').filter(Boolean).map(decodeURIComponent);
  if (body.length > 0) command.push(body);
  for (const [name, value] of query) {
    if (name === '_token') continue;
    command.push(name);
    if (value !== '') command.push(value);
  }
  return checkCommand(command);
}

export function commandName(command: Command): string {
  return String(command[0]).toUpperCase();
}

function toCommand(value: unknown): Command {
  if (!Array.isArray(value)) throw new CommandError('ERR a command must be a JSON array');
  for (let index = 0; index < value.length; index += 1) {
    const argument: unknown = value[index];
    if (typeof argument === 'string') continue;
    if (typeof argument !== 'number' && typeof argument !== 'boolean') {
      throw new CommandError('ERR an argument of a command must be a string, a number or a boolean');
    }
    value[index] = String(argument);
  }
  return checkCommand(value as string[]);
}

function checkCommand(command: Command): Command {
  if (command.length === 0) throw new CommandError('ERR empty command');
  const name = commandName(command);
  const blocks = (name === 'XREAD' || name === 'XREADGROUP') && command.some((part) => /^block$/i.test(String(part)));
  if (blocks || connectionBound.has(name)) {
    throw new CommandError(`ERR Command is not available over REST: '${name}'`);
  }
  return command;
}

type ReviveWithSource = (key: string, value: unknown, context: { source?: string }) => unknown;

/** Keeps the digits of a number that a double cannot represent exactly. */
const keepDigits: ReviveWithSource = (_key, value, { source }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) ? (source ?? value) : value;

function parseJson(body: Buffer): unknown {
  const text = body.toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    return hasInexactNumber(value) ? JSON.parse(text, keepDigits as Parameters<typeof JSON.parse>[1]) : value;
  } catch {
    throw new CommandError('ERR failed to parse the body as JSON');
  }
}

function hasInexactNumber(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasInexactNumber);
  return typeof value === 'number' && !Number.isSafeInteger(value);
}
