"""Where the pointer can hit an element: JavaScript shared by the scripts that read pages."""

__all__ = ["POINTING"]

POINTING = r"""
  const covering = (element, x, y) => {  // what a click at this point of the element's own window would hit instead; null if it
    let hit = element.getRootNode().elementFromPoint(x, y);
    while (hit?.shadowRoot) {
      const deeper = hit.shadowRoot.elementFromPoint(x, y);
      if (!deeper || deeper === hit) break;
      hit = deeper;
    }
    for (let node = hit; node; node = node.assignedSlot ?? node.parentNode ?? node.host) {
      if (node === element || node.control === element) return null;
    }
    return hit ?? "nothing";
  };
  const EIGHTHS = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const far = ([across, down]) => Math.hypot(across - 4, down - 4);
  const SPOTS = EIGHTHS.flatMap(across => EIGHTHS.map(down => [across, down])).sort((a, b) => far(a) - far(b));
  const spot = (low, high, eighths) => {  // not on the very edge, which may be a neighbour's
    const near = Math.min(0.5, (high - low) / 2);
    return Math.min(high - near, Math.max(low + near, low + (high - low) * eighths / 8));
  };
  const hittable = element => {  // {at}: in its own window, best its middle; else {cover}: what lies there, null out of view
    const view = element.ownerDocument.defaultView;
    let cover = null;
    for (const rect of element.getClientRects()) {
      const left = Math.max(0, rect.left), right = Math.min(view.innerWidth, rect.right);
      const top = Math.max(0, rect.top), bottom = Math.min(view.innerHeight, rect.bottom);
      if (right < left || bottom < top || Math.max(right - left, bottom - top) < 1) continue;
      for (const [across, down] of SPOTS) {
        const at = {x: spot(left, right, across), y: spot(top, bottom, down)}, found = covering(element, at.x, at.y);
        if (!found) return {at};
        cover ??= found;
      }
    }
    return {cover};
  };
"""
"""`hittable(element)` and what it needs, for the inside of a function's body."""
