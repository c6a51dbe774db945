import { html, render } from "lit-html";

/** Shows a suggestion with the notice that a machine wrote it. */
export function showSuggestion(place, { queue, draft, notice }) {
  render(html`<section><h2>${queue}</h2><p>${draft}</p><small>${notice}</small></section>`, place);
}
