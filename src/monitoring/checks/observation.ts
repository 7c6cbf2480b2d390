/** What a probe has seen of its target. A member is missing where the kind of check cannot see it. */
export type Observation = {
  isConnected: boolean;
  /** To the headers of an HTTP answer, to the connection of TCP, to the answer of DNS. */
  responseTime_ms?: number;
  status?: number;
  /** Names in lower case. */
  headers?: ReadonlyMap<string, string>;
  /** The first 64 KiB of an HTTP body. */
  body?: string;
  /** Whether the body is longer than that. */
  isBodyCut?: boolean;
  /** Records of a DNS answer. Their order means nothing. */
  records?: string[];
  dnsRcode?: string;
  certificateExpiresIn_ms?: number;
};

/** Why a check did not end well: the code in `details.reason`, and the text of the row. Neither contains a word of the target. */
export const reasons = {
  conditions: 'A condition does not hold',
  slow: 'A condition for good service does not hold',
  timeout: 'No answer within the timeout',
  refused: 'The connection was refused',
  connection: 'The connection failed or ended early',
  tls: 'The TLS handshake failed or the certificate is not valid',
  dns: 'The name cannot be resolved',
  redirects: 'More redirects than allowed, or a redirect without an address',
  'refused-target': 'The target is not an address that checks may reach',
  'missing-secret': 'A secret of the check does not exist',
  unsupported: 'The target cannot be checked in this way',
  'not-run': 'The check did not begin before the end of its minute',
  resolvers: 'One of two resolvers failed',
  checker: 'The network of the checker itself failed',
} as const;

export type Reason = keyof typeof reasons;

/** Failures of the network between checker and target, which may be failures of the checker's own network. */
export const networkReasons: ReadonlySet<Reason> = new Set(['timeout', 'refused', 'connection', 'tls', 'dns']);

/** The end of one attempt. */
export type Attempt = { reason: Reason | null; observed: Observation };
