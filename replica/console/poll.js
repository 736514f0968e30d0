// Polling.
//
// Guarantees: one request at a time, and none from a hidden tab. The slower the responses, or the
// more of them fail, the longer the pause, so that open consoles do not overload a service.

const RESPONSE_MS_MAX = 8_000;
const PAUSE_MS_MAX = 20_000;
const SLOWNESS = 5; // a service spends at most a sixth of its time on this request

/**
 * Send `request(signal)` every `every()` ms and pass the result to `onData(data)` or
 * `onError(error)`, until `signal` is aborted. Returns a function that sends a request at once.
 */
export function poll(request, { every, onData, onError, signal }) {
  let wake = () => {};
  let failures = 0;
  let wanted = false;

  async function once() {
    const began = performance.now();
    wanted = false;
    try {
      const data = await request(AbortSignal.any([signal, AbortSignal.timeout(RESPONSE_MS_MAX)]));
      if (signal.aborted) return 0;
      failures = 0;
      onData(data);
      return Math.max(every(), SLOWNESS * (performance.now() - began));
    } catch (error) {
      if (signal.aborted) return 0;
      failures += 1;
      onError(error);
      return Math.min(every() * 2 ** Math.min(failures - 1, 6), PAUSE_MS_MAX);
    }
  }

  async function go() {
    while (!signal.aborted) {
      const pause = await once();
      if (wanted) continue;
      await new Promise((resolve) => {
        const timer = setTimeout(() => document.hidden || resolve(), pause);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  function soon() {
    wanted = true;
    wake();
  }

  document.addEventListener("visibilitychange", () => document.hidden || soon(), { signal });
  addEventListener("online", soon, { signal });
  signal.addEventListener("abort", () => wake());
  go();
  return soon;
}
