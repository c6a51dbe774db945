"""The contrast of every text of a page with what is behind it (WCAG 2.2, relative luminance), computed in the page."""

CONTRAST = """() => {
  const channel = value => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parsed = text => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return [found.slice(0, 3), found.length > 3 ? found[3] : 1];
  };
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const box = one.tagName === "g" ? one.querySelector(".box") : null;
      const [colour, alpha] = parsed(box ? getComputedStyle(box).fill : getComputedStyle(one).backgroundColor);
      if (alpha === 1 && !(one.namespaceURI.endsWith("svg") && !box)) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || ["TITLE", "OPTION"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const [colour] = parsed(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [one, other] = [luminance(colour), luminance(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    seen += 1;
    if (ratio < 4.5) poor.push([walker.currentNode.data.trim().slice(0, 40), element.className.toString(), ratio.toFixed(2)]);
  }
  return {seen, poor};
}"""
