// Asking again and again.
//
// Guarantees: one question at a time; none from a tab that nobody sees; the longer an answer takes
// or fails to come, the longer the pause, so that a service in trouble is not held down by those who
// look at it.

const ANSWER_MS_MAX = 8_000;
const PAUSE_MS_MAX = 20_000;
const SLOWNESS = 5; // a service spends a sixth of its time on us at most

/**
 * `ask(signal)` every so many ms, which `every()` tells; `heard(answer)` or `missed(error)` hears of
 * it. Ends with `signal`. Returns a function that asks at once.
 */
export function poll(ask, { every, heard, missed, signal }) {
  let wake = () => {};
  let failures = 0;
  let wanted = false;

  async function once() {
    const began = performance.now();
    wanted = false;
    try {
      const answer = await ask(AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]));
      if (signal.aborted) return 0;
      failures = 0;
      heard(answer);
      return Math.max(every(), SLOWNESS * (performance.now() - began));
    } catch (error) {
      if (signal.aborted) return 0;
      failures += 1;
      missed(error);
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
