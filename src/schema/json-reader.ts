/**
 * Reads rows of JSON text without parsing their values: each value stays its original text, so that integers beyond 2^53, the
 * digits of numbers and the spelling of nested JSON are stored exactly. One pass, strict RFC 8259.
 */
export type ValueKind = 'string' | 'number' | 'true' | 'false' | 'null' | 'array' | 'object';

/** One member of a row. */
export type Member = {
  name: string;
  kind: ValueKind;
  /** The original text of the value; strings include their quotes. */
  text: string;
  /** Whether the value is a string with a backslash escape. */
  escaped: boolean;
};

/** Invalid JSON. `offset` counts UTF-16 units from the start of the text. */
export class JsonSyntaxError extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(message);
    this.name = 'JsonSyntaxError';
    this.offset = offset;
  }
}

const depthMax = 64;
// Sticky expressions scan long runs in native code.
// biome-ignore lint/suspicious/noControlCharactersInRegex: detects control characters, which JSON strings cannot contain
const plainString = /[^"\\\u0000-\u001f]*/y;
const escapeSequence = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const numberLiteral = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

export class JsonReader {
  readonly text: string;
  private at: number;
  private escaped = false;

  constructor(text: string, at = 0) {
    // JSON has no byte order mark, but spreadsheets and Windows editors write one.
    this.text = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    this.at = at;
  }

  get offset(): number {
    return this.at;
  }

  /** Continues at an offset, after another reader. */
  moveTo(offset: number): void {
    this.at = offset;
  }

  /** Skips white space; true when nothing follows it. */
  atEnd(): boolean {
    this.skipSpace();
    return this.at >= this.text.length;
  }

  /** The next character that is not white space, or '' at the end. */
  peek(): string {
    this.skipSpace();
    return this.text.charAt(this.at);
  }

  /** Consumes `character` if it is next. */
  take(character: string): boolean {
    this.skipSpace();
    if (this.text.charAt(this.at) !== character) return false;
    this.at += 1;
    return true;
  }

  expect(character: string): void {
    if (!this.take(character)) this.fail(`expected ${character}`);
  }

  /** Reads one object and returns its members in order. The caller handles duplicates. */
  members(): Member[] {
    const members: Member[] = [];
    this.expect('{');
    if (this.take('}')) return members;
    do {
      if (this.peek() !== '"') this.fail('expected a field name in double quotes');
      const nameText = this.value();
      const name = nameText.escaped ? (JSON.parse(nameText.text) as string) : nameText.text.slice(1, -1);
      this.expect(':');
      const value = this.value();
      members.push({ name, kind: value.kind, text: value.text, escaped: value.escaped });
    } while (this.take(','));
    this.expect('}');
    return members;
  }

  /** Reads any one value. */
  value(): Omit<Member, 'name'> {
    this.skipSpace();
    const start = this.at;
    this.escaped = false;
    const kind = this.scan(0);
    return { kind, text: this.text.slice(start, this.at), escaped: this.escaped };
  }

  private scan(depth: number): ValueKind {
    this.skipSpace();
    switch (this.text.charCodeAt(this.at)) {
      case 0x22:
        this.scanString();
        return 'string';
      case 0x7b:
        this.scanObject(depth + 1);
        return 'object';
      case 0x5b:
        this.scanArray(depth + 1);
        return 'array';
      case 0x74:
        return this.scanWord('true');
      case 0x66:
        return this.scanWord('false');
      case 0x6e:
        return this.scanWord('null');
      default:
        if (!this.advance(numberLiteral)) this.fail(this.at < this.text.length ? 'expected a value' : 'ends too early');
        return 'number';
    }
  }

  private scanString(): void {
    this.at += 1;
    for (;;) {
      this.advance(plainString);
      const code = this.text.charCodeAt(this.at);
      if (code === 0x22) {
        this.at += 1;
        return;
      }
      if (code === 0x0a) this.fail('a string is not closed in its line');
      if (code !== 0x5c) this.fail(Number.isNaN(code) ? 'a string is not closed' : 'a control character in a string');
      if (!this.advance(escapeSequence)) this.fail('an unknown escape in a string');
      this.escaped = true;
    }
  }

  private scanObject(depth: number): void {
    if (depth > depthMax) this.fail(`nested deeper than ${depthMax} levels`);
    this.expect('{');
    if (this.take('}')) return;
    do {
      if (this.peek() !== '"') this.fail('expected a field name in double quotes');
      this.scanString();
      this.expect(':');
      this.scan(depth);
    } while (this.take(','));
    this.expect('}');
  }

  private scanArray(depth: number): void {
    if (depth > depthMax) this.fail(`nested deeper than ${depthMax} levels`);
    this.expect('[');
    if (this.take(']')) return;
    do this.scan(depth);
    while (this.take(','));
    this.expect(']');
  }

  private scanWord<W extends ValueKind>(word: W): W {
    if (!this.text.startsWith(word, this.at)) this.fail('expected a value');
    this.at += word.length;
    return word;
  }

  /** Moves over a match of `pattern`; false without a match. */
  private advance(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    if (!pattern.test(this.text) || pattern.lastIndex === this.at) return false;
    this.at = pattern.lastIndex;
    return true;
  }

  private skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at += 1;
    }
  }

  private fail(message: string): never {
    throw new JsonSyntaxError(message, this.at);
  }
}

/**
 * The JSON value in a string, as responses and exports return fields of type json. Other values stay unchanged. The text `null`
 * stays a string, because null means a field without a value.
 */
export function unwrapped<V extends Omit<Member, 'name'>>(sent: V): V {
  if (sent.kind !== 'string') return sent;
  const text = JSON.parse(sent.text) as string;
  // Half of a surrogate pair has no UTF-8 encoding, except as an escape in the string.
  if (!text.isWellFormed() || text.startsWith('\ufeff')) return sent;
  try {
    const reader = new JsonReader(text);
    const value = reader.value();
    return reader.atEnd() && value.kind !== 'null' ? { ...sent, ...value } : sent;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return sent;
    throw error;
  }
}

/** A value as plain text: the content of a string, or the text of another value. */
export function textOf(value: Pick<Member, 'kind' | 'text'> | undefined): string | undefined {
  return value?.kind === 'string' ? (JSON.parse(value.text) as string) : value?.text;
}

/** The text of an object with these members. */
export function objectText(members: Member[]): string {
  return `{${members.map(({ name, text }) => `${JSON.stringify(name)}:${text}`).join()}}`;
}
