/** A batch as the hot buffer holds it. The payload's rows begin with `{"_row":`, one a line. */
export type BufferedBatch = {
  seq: number;
  id: string;
  rows: number;
  receivedAt_ms: number;
  schemaVersion: number;
  timeMin_ms: number;
  timeMax_ms: number;
  /** What was said of the rows as a whole, as JSON; '' for nothing. */
  meta: string;
  payload: string;
};

/** The form in which scripts answer with one. */
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
