import type { Step } from './flusher.ts';
import type { Bounds, Rules } from './rules.ts';
import { type Reader, type Row, rowsOf, type State, sequenceOf } from './state.ts';

/** One query: snapshot, read, and the proof that no flush came in between, or the read again with a fence. */
export function readerSteps(state: State, rules: Rules, bounds: Bounds): Step[] {
  const { reader, buffer } = state;
  const become = (changed: Partial<Reader>): State => ({ ...state, reader: { ...reader, ...changed } });
  const seen = { w: buffer.w, epoch: buffer.epoch, life: state.life, sealed: buffer.seal !== undefined };
  switch (reader.at) {
    case 'idle': {
      const known = buffer.ids;
      if (!rules.oneSnapshot) {
        return [{ name: 'the reader sees the watermark', next: become({ at: 'watermark', ...seen, known }) }];
      }
      const tail = buffer.ids.slice(buffer.w);
      return [{ name: 'the reader takes a snapshot', next: become({ at: 'snapshot', ...seen, known, tail }) }];
    }
    case 'watermark': {
      const tail = buffer.ids.slice(Math.max(buffer.w, reader.w));
      return [{ name: 'the reader reads the tail', next: become({ at: 'snapshot', tail }) }];
    }
    case 'snapshot':
    case 'again': {
      const isFenced = reader.at === 'again' || (rules.fence && reader.sealed);
      const published = state.stored.filter((row) => !isFenced || sequenceOf(row) <= reader.w);
      const answer: Row[] = [...published, ...rowsOf(bounds, reader.tail)].toSorted();
      const at = isFenced || !rules.validation ? 'done' : 'read';
      return [
        {
          name: `the reader reads ${isFenced ? 'with a fence' : 'everything'}`,
          next: become({ at, answer, fenced: isFenced }),
        },
      ];
    }
    case 'read': {
      const isBeyond = state.stored.some((row) => sequenceOf(row) > reader.w);
      const isUnchanged = buffer.epoch === reader.epoch && !(rules.nothingBeyond && isBeyond);
      return [{ name: 'the reader looks again', next: become({ at: isUnchanged ? 'done' : 'again', answer: [] }) }].map(
        (step) => (isUnchanged ? { ...step, next: become({ at: 'done' }) } : step),
      );
    }
    case 'done':
      return [];
  }
}
