/** Charts, maps, captured pictures and visual fields: what no viewer draws. */

import { dialog, el } from "/ai/static/common.js";

const made = new Map(); // by address: a picture is asked for once, however often the page is drawn again

/** One picture; a click or Enter shows it as large as the window allows. */
export function pictureCard(picture) {
  if (!made.has(picture.url)) made.set(picture.url, build(picture));
  return made.get(picture.url);
}

function build(picture) {
  const failed = el("p", { class: "small muted", hidden: true }, "This picture cannot be shown.");
  const image = el("img", {
    src: picture.url,
    alt: picture.text,
    loading: "lazy",
    on: {
      error: () => {
        image.hidden = true;
        failed.hidden = false;
      },
    },
  });
  return el(
    "figure",
    { class: "picture", dataset: { kind: picture.kind, role: picture.role } },
    el("button", { type: "button", class: "enlarge", "aria-label": `Enlarge: ${picture.title}`, on: { click: () => enlarge(picture) } }, image),
    failed,
    el("figcaption", { class: "small muted" }, picture.title),
  );
}

async function enlarge(picture) {
  const shown = dialog(picture.title, [
    el("img", { class: "large", src: picture.url, alt: picture.text }),
    el("p", {}, el("a", { href: picture.url, target: "_blank", rel: "noopener" }, "Open in a window of its own")),
  ]);
  document.querySelector("dialog[open]")?.classList.add("wide");
  await shown;
}
