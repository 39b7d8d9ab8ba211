/** A claim runs out unless the page that reads the study keeps it. */

import { api } from "/ai/static/common.js";

const EVERY_MS = 5 * 60_000;

/**
 * Keep the claims of the studies that `studies` names while this page can be seen; a function that stops comes back.
 * @param {() => string[]} studies Study Instance UIDs that the user has claimed
 * @param {(error: Error, study: string) => void} [lost] told where a claim could not be kept
 */
export function keep(studies, lost = () => {}) {
  const beat = () => {
    if (document.visibilityState !== "visible") return;
    for (const study of studies()) {
      api("POST", `/ai/worklist/${study}/claim`, {}).catch((error) => {
        if (error.status === 409 || error.status === 404) lost(error, study);
      });
    }
  };
  const timer = setInterval(beat, EVERY_MS);
  return () => clearInterval(timer);
}
