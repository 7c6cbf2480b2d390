/** A batch in the hot buffer. The payload has one row per line, each beginning with `{"_row":`. */
export type BufferedBatch = {
  seq: number;
  id: string;
  rows: number;
  receivedAt_ms: number;
  schemaVersion: number;
  timeMin_ms: number;
  timeMax_ms: number;
  /** Metadata of the batch as JSON, or ''. */
  meta: string;
  payload: string;
};

/** A batch in the replies of scripts. */
export type BatchReply = [
  seq: number,
  id: string,
  rows: string,
  at: string,
  version: string,
  lo: string,
  hi: string,
  meta: string,
  payload: string,
];

export function bufferedBatch([seq, id, rows, at, version, lo, hi, meta, payload]: BatchReply): BufferedBatch {
  return {
    seq,
    id,
    rows: Number(rows),
    receivedAt_ms: Number(at),
    schemaVersion: Number(version),
    timeMin_ms: Number(lo),
    timeMax_ms: Number(hi),
    meta,
    payload,
  };
}
