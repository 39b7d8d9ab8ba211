/** Small pictures, two at a time: the server makes them when they are first asked for. */

const AT_ONCE = 2;
const waiting = [];
let busy = 0;

/** Load a picture into an image element as soon as there is room; one that left the page meanwhile is passed over. */
export function load(image, address, failed) {
  waiting.push({ image, address, failed });
  next();
}

function next() {
  while (busy < AT_ONCE && waiting.length) {
    const { image, address, failed } = waiting.pop(); // what came last is what one looks at
    if (!image.isConnected) continue;
    busy += 1;
    const done = () => {
      busy -= 1;
      next();
    };
    image.addEventListener("load", done, { once: true });
    image.addEventListener(
      "error",
      () => {
        failed();
        done();
      },
      { once: true },
    );
    image.src = address;
  }
}
