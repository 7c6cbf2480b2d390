/** Paths of queries: behind a proxy they continue on the server after the client has disconnected. */
const queryPath = /^\/v1\/(?:sql|sql\/saved\/[^/]+\/[^/]+\/run|datasets\/[^/]+\/query)$/;

export const isQuery = (method: string, path: string): boolean => method === 'POST' && queryPath.test(path);

/**
 * Cancels a query on the server if the caller aborts it before the whole answer has arrived.
 *
 * @param cancel sends the cancellation
 * @returns `through` wraps the answer, `end` stops watching, `giveUp` cancels at once
 */
export function cancelOnAbort(signal: AbortSignal | undefined, cancel: () => void) {
  let hasEnded = false;
  const end = () => {
    hasEnded = true;
    signal?.removeEventListener('abort', giveUp);
  };
  const giveUp = () => {
    if (hasEnded) return;
    end();
    cancel();
  };
  signal?.addEventListener('abort', giveUp, { once: true });
  return {
    end,
    giveUp,
    through({ body, status, statusText, headers }: Response): Response {
      const reader = body?.getReader();
      if (reader === undefined) {
        end();
        return new Response(null, { status, statusText, headers });
      }
      const watched = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            const { done, value } = await reader.read();
            if (!done) return controller.enqueue(value);
            end();
            controller.close();
          },
          async cancel(reason) {
            giveUp();
            await reader.cancel(reason);
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(watched, { status, statusText, headers });
    },
  };
}
