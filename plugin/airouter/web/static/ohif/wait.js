/** Waiting for what OHIF does in its own time and does not announce. */

const EVERY_MS = 100;
const LONGEST_MS = 60_000;

/** What `condition` answers once it is truthy; null when `signal` aborts first, or after a minute. Throws what it throws. */
export async function until(condition, signal) {
  const deadline = Date.now() + LONGEST_MS;
  while (!signal?.aborted) {
    const found = condition();
    if (found) return found;
    if (Date.now() > deadline) return null;
    await new Promise(resolve => setTimeout(resolve, EVERY_MS));
  }
  return null;
}
